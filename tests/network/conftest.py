"""A clean environment, and servers that stop quickly."""

from __future__ import annotations

import pytest

from pysyncml.transport import adhoc
from tests.e2e.harness import World


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('http_proxy', 'https_proxy', 'all_proxy', 'no_proxy'):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def quick_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adhoc.Server, 'expiration_interval', 0.02)


@pytest.fixture
def world(tmp_path):
    with World(tmp_path) as world:
        yield world
