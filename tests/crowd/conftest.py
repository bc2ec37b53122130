import pytest

from tests.e2e.harness import World


@pytest.fixture
def world(tmp_path):
    with World(tmp_path) as world:
        yield world
