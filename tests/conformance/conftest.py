"""The dialects in which the scenarios are played: :data:`tests.conformance.wire.DIALECTS`."""

from collections.abc import Iterator

import pytest

from tests.conformance.wire import DIALECTS, OLDER, Dialect
from tests.sync.support import ENGINES


@pytest.fixture(autouse=True)
def databases() -> Iterator[None]:
    """Each test may use all databases."""
    ENGINES.release()
    yield


@pytest.fixture(
    params=[*DIALECTS, *(pytest.param(old, marks=pytest.mark.campaign) for old in OLDER)], ids=str
)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """The encoding and the version of SyncML in which a scenario is played."""
    return request.param


@pytest.fixture(
    params=[
        *DIALECTS,
        *(pytest.param(old, marks=pytest.mark.campaign) for old in OLDER if old.version != '1.0'),
    ],
    ids=str,
)
def later_dialect(request: pytest.FixtureRequest) -> Dialect:
    """The same without SyncML 1.0, which has no items in parts."""
    return request.param


@pytest.fixture(params=DIALECTS, ids=str)
def newest_dialect(request: pytest.FixtureRequest) -> Dialect:
    """SyncML 1.2 only, for what the versions before do not have."""
    return request.param


@pytest.fixture(params=[*DIALECTS, *OLDER], ids=str)
def any_dialect(request: pytest.FixtureRequest) -> Dialect:
    """The same for what must always be tried in every one of them."""
    return request.param
