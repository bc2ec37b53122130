"""The WSGI application, without a socket."""

from __future__ import annotations

import io
import logging
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from pysyncml.errors import CodecError, RefusedError, SyncmlError, UnknownCodec
from pysyncml.transport import Request, Response
from pysyncml.transport.wsgi import application


def echo(request: Request) -> Response:
    return Response(request.body, 'x/y', headers={'X-Seen': request.url})


class Call:
    """One call of an application, under the eyes of wsgiref's validator."""

    def __init__(self, app, method='POST', body: bytes | None = b'hello', check=True, **environ):
        env = {'REQUEST_METHOD': method, 'wsgi.input': io.BytesIO(body or b'')}
        if body is not None:
            env['CONTENT_LENGTH'] = str(len(body))
        env.update({'SCRIPT_NAME': '', 'PATH_INFO': '/', 'QUERY_STRING': '', **environ})
        setup_testing_defaults(env)
        result = (validator(app) if check else app)(env, self.start_response)
        self.body = b''.join(result)
        if hasattr(result, 'close'):
            result.close()

    def start_response(self, status, headers, exc_info=None):
        self.status = int(status.split()[0])
        self.headers = dict(headers)
        return lambda _: None

    @property
    def line(self) -> str:
        text = self.body.decode()
        assert text.endswith('\n') and text.count('\n') == 1
        return text[:-1]


def test_a_post_reaches_the_handler_and_the_answer_goes_back():
    seen = []

    def handler(request):
        seen.append(request)
        return Response(b'answer', 'a/b')

    call = Call(
        application(handler),
        PATH_INFO='/a b;sid=1',
        QUERY_STRING='q=2',
        HTTP_HOST='me.example:81',
        HTTP_X_ONE='1',
        CONTENT_TYPE='c/d; charset=utf-8',
        REMOTE_ADDR='10.1.2.3',
    )
    assert (call.status, call.body, call.headers['Content-Type']) == (200, b'answer', 'a/b')
    assert call.headers['Content-Length'] == '6'
    assert call.headers['Cache-Control'] == 'no-store'
    (request,) = seen
    assert request.url == 'http://me.example:81/a%20b;sid=1?q=2'
    assert request.body == b'hello'
    assert request.content_type == 'c/d; charset=utf-8'
    assert request.headers['x-one'] == '1'
    assert request.remote == '10.1.2.3'


def test_the_url_without_a_host_header():
    call = Call(application(echo), SERVER_NAME='box', SERVER_PORT='80', HTTP_HOST='')
    assert call.headers['X-Seen'] == 'http://box:80/'


def test_large_answers_come_in_blocks():
    body = bytes(range(256)) * 1000
    assert Call(application(echo), body=body).body == body


@pytest.mark.parametrize('method', ['GET', 'HEAD'])
def test_a_browser_is_told_what_this_is(method):
    call = Call(application(echo), method, body=None)
    assert call.status == 200
    assert call.headers['Content-Type'].startswith('text/plain')
    if method == 'GET':
        assert 'SyncML' in call.line
    else:
        assert call.body == b''


@pytest.mark.parametrize('method', ['PUT', 'DELETE', 'OPTIONS', 'PROPFIND'])
def test_other_methods(method):
    call = Call(application(echo), method, check=False)
    assert call.status == 405
    assert 'POST' in call.headers['Allow']


@pytest.mark.parametrize('header', ['HTTP_ORIGIN', 'HTTP_SEC_FETCH_SITE'])
def test_web_pages_may_not_send(header):
    call = Call(application(echo), **{header: 'null'})
    assert call.status == 403
    assert 'Web pages' in call.line


# --- bodies -------------------------------------------------------------------------------------


@pytest.mark.parametrize('length', ['x', '-1', '1.0', '٣', '+5'])
def test_a_length_that_is_none(length):
    assert Call(application(echo), check=False, CONTENT_LENGTH=length).status == 400


def test_a_missing_length():
    assert Call(application(echo), body=None).status == 411


def test_an_empty_message():
    assert Call(application(echo), body=b'').status == 400


def test_a_message_that_breaks_off():
    call = Call(application(echo), body=b'hell', CONTENT_LENGTH='5')
    assert (call.status, call.line) == (400, 'The message broke off in the middle.')


def test_the_limit():
    app = application(echo, max_body=5)
    assert Call(app, body=b'12345').status == 200
    assert Call(app, body=b'123456').status == 413


def test_no_more_is_read_than_announced():
    class Endless(io.BytesIO):
        def read(self, size=-1):
            assert 0 < size <= 5
            return b'x' * size

    call = Call(application(echo), check=False, CONTENT_LENGTH='5', **{'wsgi.input': Endless()})
    assert call.body == b'xxxxx'


def test_bodies_without_a_length_where_the_server_knows_the_end():
    terminated = {'wsgi.input_terminated': True, 'check': False}
    for length, status in [(5, 200), (6, 413)]:
        stream = io.BytesIO(b'x' * length)
        call = Call(
            application(echo, max_body=5), body=None, **terminated, **{'wsgi.input': stream}
        )
        assert call.status == status


def test_chunks_that_cannot_be_read():
    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise ValueError('bad chunk size')

    call = Call(
        application(echo),
        body=None,
        check=False,
        **{'wsgi.input': Broken(), 'wsgi.input_terminated': True},
    )
    assert call.status == 400


# --- failing handlers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('error', 'status'),
    [
        (CodecError('bad <tag> in /home/me'), 400),
        (UnknownCodec('what is that'), 415),
        (RefusedError('/home/me is empty'), 503),
        (SyncmlError('/home/me'), 500),
        (RuntimeError('/home/me'), 500),
    ],
)
def test_errors_become_one_line_that_gives_nothing_away(error, status, caplog):
    def handler(_):
        raise error

    with caplog.at_level(logging.WARNING):
        call = Call(application(handler), REMOTE_ADDR='10.1.2.3')
    assert call.status == status
    assert '/home' not in call.line and 'Traceback' not in call.line
    (record,) = caplog.records
    assert str(error) in record.getMessage() and '10.1.2.3' in record.getMessage()
    assert bool(record.exc_info) == isinstance(error, RuntimeError)


def test_a_busy_server_says_when_to_come_back():
    def handler(_):
        raise RefusedError('locked')

    assert Call(application(handler)).headers['Retry-After'] == '30'


def test_the_status_of_the_handler_is_used():
    assert Call(application(lambda _: Response(b'no', 'text/plain', 404))).status == 404
    assert Call(application(lambda _: Response(b'no', 'text/plain', 299))).status == 299


def test_a_length_of_thousands_of_digits_is_too_large():
    environ = {
        'REQUEST_METHOD': 'POST', 'CONTENT_LENGTH': '9' * 5000, 'SERVER_NAME': 'x',
        'SERVER_PORT': '80', 'wsgi.url_scheme': 'http', 'wsgi.input': io.BytesIO(b'x'),
    }  # fmt: skip
    said = []
    application(lambda request: Response(b''))(environ, lambda status, headers: said.append(status))
    assert said[0].startswith('413')
