"""How a client finds out in which version and encoding a server is spoken to, and remembers it."""

from __future__ import annotations

import dataclasses

import pytest

import pysyncml
from pysyncml.codec import decode, encode
from pysyncml.errors import HTTPStatus, InvalidAdapter, RemoteProtocolError, UnknownCodec
from pysyncml.login import refusal
from pysyncml.transport import LoopbackTransport, Response
from tests.sync.support import ENGINES, device, urls

XML, WBXML = 'application/vnd.syncml+xml', 'application/vnd.syncml+wbxml'


@pytest.fixture(autouse=True)
def databases():
    ENGINES.release()
    return


class Picky:
    """A server that takes some versions and some encodings only, and says so in its own way."""

    def __init__(self, server, versions='1.0 1.1 1.2', types=(XML, WBXML), no=513, http=415):
        self.server = server
        self.versions = versions.split()
        self.types = types
        self.no = no
        self.http = http
        self.requests = []

    def exchange(self, request):
        message = decode(request.content_type, request.body)
        self.requests.append((request.content_type, message.header.version, request.url, message))
        if request.content_type not in self.types:
            if isinstance(self.http, int):
                raise HTTPStatus('not in this encoding', self.http)
            return self.http
        if message.header.version not in self.versions:
            return self.refuse(message)
        return LoopbackTransport(self.server.handle).exchange(request)

    def refuse(self, message):
        names = {505: self.versions, 513: [f'SyncML/{v}' for v in self.versions]}.get(self.no, [])
        content_type, body = encode(refusal(message, self.no, ', '.join(names)))
        return Response(body, content_type)

    def close(self):
        """Nothing to close."""

    def said(self):
        return [(kind.rpartition('+')[2], version) for kind, version, *_ in self.requests]


def server_and_client():
    return device('S', 'theirs'), device('C', 'ours')


def remembered(client):
    record = client.adapter.getKnownPeers()[0].record
    return record.encoding, record.version


# --- versions -----------------------------------------------------------------------------------


@pytest.mark.parametrize('no', [505, 513, 400, 501])
@pytest.mark.parametrize('versions', ['1.1', '1.0', '1.0 1.1'])
def test_a_client_goes_down_to_what_the_server_knows_and_remembers(no, versions):
    server, client = server_and_client()
    picky = Picky(server, versions, no=no)
    client.sync(server, transport=picky)
    assert urls(client) == urls(server) == ['ours', 'theirs']
    best = versions.split()[-1]
    tried = [version for _, version in picky.said()]
    assert tried[0] == '1.2'
    assert set(tried[tried.index(best) :]) == {best}
    assert remembered(client) == (None, best)
    sessions = [message.header.session_id for *_, message in picky.requests]
    assert sessions[0] != sessions[-1]
    again = Picky(server, versions, no=no)
    client.restart()
    client.sync(server, transport=again)
    assert {version for _, version in again.said()} == {best}


def test_the_list_of_versions_saves_a_try():
    server, client = server_and_client()
    picky = Picky(server, '1.0')
    client.sync(server, transport=picky)
    assert [version for _, version in picky.said()][:2] == ['1.2', '1.0']


def test_a_server_that_has_become_newer_is_followed():
    server, client = server_and_client()
    client.sync(server, transport=Picky(server, '1.0'))
    picky = Picky(server, '1.2')
    client.sync(server, transport=picky)
    assert [version for _, version in picky.said()][:2] == ['1.0', '1.2']
    assert remembered(client) == (None, '1.2')


def test_with_no_version_in_common_the_first_refusal_is_told():
    server, client = server_and_client()
    for no in (513, 400):
        picky = Picky(server, '', no=no)
        with pytest.raises(RemoteProtocolError, match=f'status {no}') as caught:
            client.sync(server, transport=picky)
        assert caught.value.status == no
        assert [version for _, version in picky.said()] == ['1.2', '1.1', '1.0']
    assert urls(server) == ['theirs']


def test_a_refusal_later_on_is_final():
    """Once a server has answered, 400 has nothing to do with the version."""
    server, client = server_and_client()

    class Late(Picky):
        def exchange(self, request):
            if len(self.requests) == 1:
                message = decode(request.content_type, request.body)
                self.requests.append((request.content_type, message.header.version))
                return self.refuse(message)
            return super().exchange(request)

    late = Late(server, no=400)
    with pytest.raises(RemoteProtocolError, match='status 400'):
        client.sync(server, transport=late)
    assert late.said() == [('xml', '1.2')] * 2


def test_a_version_can_be_fixed():
    server, client = server_and_client()
    client.adapter.peer = client.context.RemoteAdapter(url='http://S/', version='1.1')
    picky = Picky(server)
    client.sync(server, transport=picky)
    assert {version for _, version in picky.said()} == {'1.1'}
    client.adapter.peer = client.context.RemoteAdapter(url='http://S/', version='1.1')
    with pytest.raises(RemoteProtocolError, match=r'speaks no version .* \(status 513\)'):
        client.sync(server, transport=Picky(server, '1.0 1.2'))
    with pytest.raises(InvalidAdapter, match=r'no SyncML 1\.3'):
        client.context.RemoteAdapter(url='http://S/', version='1.3')


def test_a_server_answers_in_the_version_it_was_asked_in():
    for version in ('1.0', '1.1', '1.2'):
        server, client = server_and_client()
        client.adapter.peer = client.context.RemoteAdapter(url='http://S/', version=version)
        answers = []

        def keep(request, server=server, answers=answers):
            response = server.handle(request)
            answers.append(decode(response.content_type, response.body).header)
            return response

        client.sync(server, transport=LoopbackTransport(keep))
        assert {(h.version, h.dtd_version) for h in answers} == {(version, version)}


# --- encodings ----------------------------------------------------------------------------------


@pytest.mark.parametrize('encoding', ['xml', 'wbxml'])
def test_an_encoding_that_was_asked_for_is_kept(encoding):
    server, client = server_and_client()
    client.adapter.peer = client.context.RemoteAdapter(url='http://S/', encoding=encoding)
    picky = Picky(server)
    client.sync(server, transport=picky)
    assert urls(client) == urls(server) == ['ours', 'theirs']
    client.restart()
    client.adapter.peer = client.context.RemoteAdapter(url='http://S/')
    client.sync(server, transport=picky)
    assert {kind for kind, _ in picky.said()} == {encoding}
    assert remembered(client) == (encoding, '1.2')


WEB_PAGE = Response(b'<!doctype html><html></html>', 'text/html')
GARBAGE = Response(b'\x03\x00\xff\xff', WBXML)


@pytest.mark.parametrize('http', [415, 400, 500, WEB_PAGE, GARBAGE], ids=str)
@pytest.mark.parametrize(('first', 'other'), [('xml', WBXML), ('wbxml', XML)])
def test_a_client_falls_back_to_the_other_encoding_and_remembers(http, first, other):
    server, client = server_and_client()
    client.adapter.peer = client.context.RemoteAdapter(url='http://S/', encoding=first)
    picky = Picky(server, types=(other,), http=http)
    client.sync(server, transport=picky)
    assert urls(client) == urls(server) == ['ours', 'theirs']
    wanted = other.rpartition('+')[2]
    kinds = [kind for kind, _ in picky.said()]
    assert kinds == [first] + [wanted] * (len(kinds) - 1)
    assert remembered(client) == (wanted, '1.2')
    client.restart()
    client.sync(server, transport=picky)
    assert picky.said()[len(kinds)][0] == wanted


def test_when_no_encoding_will_do_the_first_error_is_told():
    server, client = server_and_client()
    picky = Picky(server, types=(), http=415)
    with pytest.raises(HTTPStatus, match='not in this encoding'):
        client.sync(server, transport=picky)
    assert [kind for kind, _ in picky.said()] == ['xml', 'wbxml']


@pytest.mark.parametrize('http', [401, 403, 404, 503])
def test_other_errors_of_http_are_not_about_the_encoding(http):
    server, client = server_and_client()
    picky = Picky(server, types=(), http=http)
    with pytest.raises(HTTPStatus):
        client.sync(server, transport=picky)
    assert len(picky.said()) == 1


def test_there_is_no_falling_back_in_the_middle_of_a_session():
    server, client = server_and_client()

    class Tired(Picky):
        def exchange(self, request):
            if self.requests:
                self.types = ()
            return super().exchange(request)

    tired = Tired(server, http=500)
    with pytest.raises(HTTPStatus):
        client.sync(server, transport=tired)
    assert tired.said() == [('xml', '1.2')] * 2
    client.sync(server, transport=Picky(server))
    assert urls(client) == urls(server) == ['ours', 'theirs']


def test_an_encoding_nobody_knows_is_an_error():
    with pytest.raises(UnknownCodec, match='morse'):
        device('C').context.RemoteAdapter(url='http://S/', encoding='morse')


@pytest.mark.parametrize('encoding', ['xml', 'wbxml'])
@pytest.mark.parametrize('said', [XML, WBXML, 'text/plain', ''])
def test_a_server_answers_in_what_it_was_asked_in(encoding, said):
    """What the bytes are counts, whatever the type of the content says; refusals included."""
    server, client = server_and_client()
    client.adapter.peer = client.context.RemoteAdapter(url='http://S/', encoding=encoding)
    kinds = set()

    def lie(request):
        headers = {**request.headers, 'content-type': said}
        response = server.handle(dataclasses.replace(request, headers=headers))
        kinds.add(response.content_type)
        return response

    client.sync(server, transport=LoopbackTransport(lie))
    server.context.setAccounts({'me': 'secret'})
    with pytest.raises(pysyncml.AuthError):
        client.sync(server, transport=LoopbackTransport(lie))
    assert kinds == {f'application/vnd.syncml+{encoding}'}


def test_the_encoding_may_change_within_a_session():
    """Each message is answered as it came."""
    server, client = server_and_client()
    kinds = []

    def translate(request):
        message = decode(request.content_type, request.body)
        name = ('wbxml', 'xml')[len(kinds) % 2]
        kind, body = encode(message, name)
        response = server.handle(
            dataclasses.replace(request, headers={'content-type': kind}, body=body)
        )
        kinds.append(response.content_type)
        assert kinds[-1] == kind
        return response

    client.sync(server, transport=LoopbackTransport(translate))
    assert urls(client) == urls(server) == ['ours', 'theirs']
    assert set(kinds) == {XML, WBXML}
