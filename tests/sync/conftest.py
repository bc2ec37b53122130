from collections.abc import Iterator

import pytest

from tests.sync.support import ENGINES


@pytest.fixture(autouse=True)
def databases() -> Iterator[None]:
    """Each test may use all databases."""
    ENGINES.release()
    yield
