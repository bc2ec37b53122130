"""What is told to the allocator of the system, seen in the memory of a process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_USE = """
import re
from pathlib import Path
from pysyncml.storage.allocator import keep_memory, release_memory

def resident():
    return int(re.search(r'VmRSS:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) >> 10

keep_memory()
before = resident()
pieces = [b'x' * (4 << 20) for _ in range(10)]
del pieces
kept = resident()
release_memory()
print(kept - before, resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='elsewhere nothing is done')
def test_memory_is_kept_until_it_is_released():
    out = subprocess.run([sys.executable, '-c', _USE], capture_output=True, text=True, check=True)
    kept, left = map(int, out.stdout.split())
    assert kept > 35
    assert left < 5
