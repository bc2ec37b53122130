"""Request, Response and the loopback."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from pysyncml.errors import HTTPStatus, TransportError
from pysyncml.transport import LoopbackTransport, Request, Response, Transport


def test_headers_are_found_by_their_lower_case_names():
    request = Request('http://x/', {'Content-Type': 'text/plain'}, b'x')
    assert request.headers == {'content-type': 'text/plain'}
    assert request.content_type == 'text/plain'
    assert Request('http://x/').content_type == ''
    assert Response(b'', headers={'Retry-After': '3'}).headers['retry-after'] == '3'


def test_requests_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Request('http://x/').body = b'other'  # type: ignore[misc]


def test_loopback_hands_over_and_back():
    transport: Transport = LoopbackTransport(lambda request: Response(request.body[::-1], 'a/b'))
    assert transport.exchange(Request('http://x/', {}, b'abc')).body == b'cba'
    transport.close()
    transport.close()
    with pytest.raises(TransportError, match='closed'):
        transport.exchange(Request('http://x/'))


def test_loopback_takes_status_200_only():
    transport = LoopbackTransport(lambda _: Response(b'', status=503))
    with pytest.raises(HTTPStatus) as caught:
        transport.exchange(Request('http://x/'))
    assert caught.value.code == 503


def test_importing_the_package_is_cheap():
    code = (
        'import sys, pysyncml.transport, pysyncml.transport.wsgi; '
        'print([m for m in ("requests", "cheroot", "urllib3", "ssl") if m in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
