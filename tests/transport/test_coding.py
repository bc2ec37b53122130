"""Messages packed on their way: gzip where both sides know it, and nobody harmed by it."""

from __future__ import annotations

import gzip
import random

import pytest

from pysyncml.transport import Request, Response, coding
from pysyncml.transport.http import HTTPTransport
from pysyncml.transport.wsgi import AdHocServer, application
from tests.transport.scripted import respond
from tests.transport.test_http import KIND, post
from tests.transport.test_wsgi import Call

LONG = b'<Item>all work and no play</Item>' * 1000


def echo(request: Request) -> Response:
    return Response(request.body, KIND)


@pytest.fixture
def far(monkeypatch):
    """A transport to whom every server is another machine."""
    monkeypatch.setattr(coding, 'is_loopback', lambda host: False)
    made = HTTPTransport(timeout=(2, 2))
    yield made
    made.close()


# --- what is worth it ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('accept', 'takes'),
    [
        ('gzip', True),
        ('deflate, GZIP;q=0.5', True),
        ('x-gzip', True),
        ('gzip;q=0', False),
        ('gzip; q=0.000', False),
        ('gzip;q=0.001', True),
        ('*', False),
        ('identity', False),
        ('', False),
        ('gzipped', False),
    ],
)
def test_who_takes_gzip(accept, takes):
    assert coding.takes_gzip(accept) is takes


@pytest.mark.parametrize(
    ('host', 'here'),
    [
        ('localhost', True),
        ('LOCALHOST.', True),
        ('127.0.0.1', True),
        ('127.9.9.9', True),
        ('::1', True),
        ('[::1]', True),
        ('10.0.0.1', False),
        ('localhost.example.com', False),
        ('example.com', False),
        ('', False),
        (None, False),
    ],
)
def test_which_hosts_are_this_machine(host, here):
    assert coding.is_loopback(host) is here


def test_what_hardly_gets_smaller_is_left_as_it_is():
    assert coding.pack(b'a' * coding.SMALL) is None
    assert coding.pack(random.Random(1).randbytes(9999)) is None
    packed = coding.pack(LONG)
    assert packed is not None and len(packed) < len(LONG) / 10
    assert coding.unpack(packed, len(LONG)) == LONG


def test_a_bomb_is_unpacked_as_far_as_it_may_be_and_no_further():
    assert len(coding.unpack(gzip.compress(bytes(50 << 20)), 1 << 20)) == (1 << 20) + 1


@pytest.mark.parametrize(
    'body',
    [b'', b'no gzip', gzip.compress(LONG)[:-4], gzip.compress(LONG) + b'more'],
    ids=['empty', 'other', 'cut', 'more'],
)
def test_what_is_not_packed_as_it_says(body):
    with pytest.raises(coding.Unpackable):
        coding.unpack(body, 1 << 20)


# --- the server ---------------------------------------------------------------------------------


def test_a_packed_message_is_unpacked_before_anybody_sees_it():
    call = Call(application(echo), body=gzip.compress(LONG), HTTP_CONTENT_ENCODING='GZip')
    assert (call.status, call.body) == (200, LONG)


def test_an_answer_is_packed_for_those_who_say_they_take_it():
    plain = Call(application(echo), body=LONG)
    assert plain.body == LONG and 'Content-Encoding' not in plain.headers
    assert plain.headers['Accept-Encoding'] == 'gzip'
    packed = Call(application(echo), body=LONG, HTTP_ACCEPT_ENCODING='gzip, deflate')
    assert packed.headers['Content-Encoding'] == 'gzip'
    assert packed.headers['Content-Length'] == str(len(packed.body))
    assert gzip.decompress(packed.body) == LONG


@pytest.mark.parametrize(
    ('body', 'name', 'status'),
    [
        (b'x' * 99, 'br', 415),
        (b'x' * 99, 'gzip, gzip', 415),
        (b'x' * 99, 'gzip', 400),
        (gzip.compress(b''), 'gzip', 400),
        (gzip.compress(LONG)[:-9], 'gzip', 400),
        (gzip.compress(bytes(2 << 20)), 'gzip', 413),
        (b'hello', 'identity', 200),
    ],
    ids=['unknown', 'twice', 'not packed', 'nothing', 'cut', 'too large', 'as it is'],
)
def test_what_is_said_of_a_message_that_cannot_be_unpacked(body, name, status):
    call = Call(application(echo, 1 << 20), body=body, HTTP_CONTENT_ENCODING=name)
    assert call.status == status
    if status != 200:
        assert call.line
    if status == 415:
        assert call.headers['Accept-Encoding'] == 'gzip'


# --- the client ---------------------------------------------------------------------------------


def test_on_one_machine_nothing_is_packed(scripted):
    transport = HTTPTransport(timeout=(2, 2))
    scripted.answer = respond(Accept_Encoding='gzip')
    for _ in range(2):
        post(transport, scripted.url, LONG)
    transport.close()
    for _, headers, body in scripted.seen:
        assert body == LONG
        assert headers['accept-encoding'] == 'identity'


def test_a_client_packs_once_the_server_has_said_that_it_takes_it(far, scripted):
    scripted.answer = respond(Accept_Encoding='gzip')
    for _ in range(2):
        post(far, scripted.url, LONG)
    (_, first, plain), (_, second, packed) = scripted.seen
    assert plain == LONG and 'content-encoding' not in first
    assert first['accept-encoding'] == 'gzip'
    assert second['content-encoding'] == 'gzip' and gzip.decompress(packed) == LONG


def test_a_client_never_packs_for_a_server_that_says_nothing(far, scripted):
    for _ in range(3):
        post(far, scripted.url, LONG)
    assert {body for _, _, body in scripted.seen} == {LONG}


@pytest.mark.parametrize('status', [400, 415])
def test_a_message_that_cannot_be_unpacked_goes_again_as_it_is(far, scripted, status):
    scripted.answer = respond(Accept_Encoding='gzip')
    post(far, scripted.url, LONG)

    def cannot(handler, body):
        packed = 'content-encoding' in handler.headers
        (respond(status, b'what?') if packed else respond())(handler, body)

    scripted.answer = cannot
    for _ in range(2):
        assert post(far, scripted.url, LONG).body == b'<answer/>'
    assert [body == LONG for _, _, body in scripted.seen] == [True, False, True, True]


def test_both_sides_together_send_less(far):
    sent = []

    def handler(request):
        sent.append(request)
        return Response(LONG, KIND)

    def counted(environ, start_response):
        lengths.append(int(environ['CONTENT_LENGTH']))
        return app(environ, start_response)

    lengths: list[int] = []
    app = application(handler)
    with AdHocServer(counted) as server:
        for _ in range(2):
            assert post(far, server.url, LONG).body == LONG
    assert [request.body for request in sent] == [LONG, LONG]
    assert lengths[0] == len(LONG) and lengths[1] < len(LONG) / 10
