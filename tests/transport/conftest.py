"""Servers, certificates and a clean environment for the tests of the transports."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from pysyncml.transport import adhoc
from tests.transport.scripted import Scripted


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('http_proxy', 'https_proxy', 'all_proxy'):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def quick_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adhoc.Server, 'expiration_interval', 0.02)


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    server = Scripted()
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope='session')
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope='session')
def pem(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that writes a certificate with its key for the given names."""

    def write(*names: str) -> Path:
        path = tmp_path_factory.mktemp('tls') / 'server.pem'
        authority.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(path)
        return path

    return write


@pytest.fixture(scope='session')
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('ca') / 'ca.pem'
    authority.cert_pem.write_to_path(path)
    return path
