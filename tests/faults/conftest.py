import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.faults.bench import Bench


@pytest.fixture(scope='session')
def quick():
    """A folder in memory, where there is one: hundreds of databases are made durable in it."""
    memory = '/dev/shm'
    where = memory if os.access(memory, os.W_OK) and os.path.isdir(memory) else None
    folder = tempfile.mkdtemp(prefix='faults-', dir=where)
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def bench(quick):
    bench = Bench(Path(tempfile.mkdtemp(dir=quick)))
    yield bench
    bench.close()
