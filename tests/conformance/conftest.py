"""Every scenario runs in every dialect that is spoken: :data:`tests.conformance.wire.DIALECTS`."""

from collections.abc import Iterator

import pytest

from tests.conformance.wire import DIALECTS, Dialect
from tests.sync.support import ENGINES


@pytest.fixture(autouse=True)
def databases() -> Iterator[None]:
    """Each test may use all databases."""
    ENGINES.release()
    yield


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is busy is asked again at once."""
    monkeypatch.setattr('pysyncml.conversation.BUSY_PAUSE', 0.0)


@pytest.fixture(params=DIALECTS, ids=str)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """The encoding and the version of SyncML in which a scenario is played."""
    return request.param
