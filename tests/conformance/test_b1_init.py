"""B1: how a session begins: device information, datastores, anchors, the header, the bytes.

Who may come in is in :mod:`tests.conformance.test_b1_auth`.
"""

from __future__ import annotations

import html
import re
from dataclasses import replace as changed

import pytest

import pysyncml
from pysyncml.protocol.messages import (
    Add,
    Alert,
    Get,
    Item,
    Location,
    Put,
    Results,
    Status,
)
from tests.conformance.wire import (
    Client,
    Dialect,
    Server,
    add,
    commands_of,
    delete,
    header_status,
    saying,
    statuses_of,
    sync,
    url_of,
)
from tests.sync.support import BookmarkAgent, contents, urls

XML = Dialect('xml', '1.2')


# --- 10, 11: device information -------------------------------------------------------------------


def test_10_put_and_get_of_device_information(any_dialect):
    server = any_dialect.device('S')
    client = Client(server, any_dialect)
    reply = client.say(client.put(), client.get(), client.alert(201))
    assert statuses_of(reply, 'Put') == [200]
    assert statuses_of(reply, 'Get') == [200]
    [results] = commands_of(reply, Results)
    assert (results.msg_ref, results.cmd_ref) == ('1', '2')
    assert results.meta.type == any_dialect.devinf_type
    assert results.items[0].source_uri == any_dialect.devinf_uri
    document = results.items[0].data
    assert (document.device.devID, document.version) == ('S', any_dialect.version)
    assert [store.uri for store in document.stores] == ['items']
    assert {1, 2} <= set(document.stores[0].sync_types)
    [peer] = server.adapter.getKnownPeers()
    assert peer.devinfo.manufacturerName == 'Foreign'


def test_10_a_client_answers_what_a_server_asks(any_dialect):
    def asks(server, request, due):
        return saying(due, *due.commands, server.put(), server.get())

    server = Server(any_dialect, script={1: asks})
    client = any_dialect.device('C')
    client.sync(server, transport=server)
    third = server.requests[1]
    assert statuses_of(third, 'Put') == [200]
    assert statuses_of(third, 'Get') == [200]
    [results] = commands_of(third, Results)
    assert results.msg_ref == '1'
    assert results.items[0].source_uri == any_dialect.devinf_uri
    assert results.items[0].data.device.devID == 'C'


def test_10_device_information_may_have_a_package_of_its_own(dialect):
    """Some clients introduce themselves, say Final, and send their Alerts after that."""
    client = Client(dialect.device('S', 'theirs'), dialect)
    reply = client.say(client.put(), client.get())
    assert statuses_of(reply, 'Put') == statuses_of(reply, 'Get') == [200]
    assert len(commands_of(reply, Results)) == 1
    assert reply.final
    reply = client.say(client.alert(201))
    assert statuses_of(reply, 'Alert') == [200]
    assert [alert.code for alert in commands_of(reply, Alert)] == [201]
    assert [url_of(change.items[0]) for change in client.send(add('1', 'ours'))] == ['theirs']
    assert client.confirm().final


def test_10_anything_else_is_not_found(dialect):
    client = Client(dialect.device('S'), dialect)
    put = changed(client.put(), items=(Item(source=Location('./other'), data=b'x'),))
    get = changed(client.get(), items=(Item(target=Location('./devinf99')),))
    reply = client.say(put, get, client.alert(201))
    assert statuses_of(reply, 'Put') == statuses_of(reply, 'Get') == [404]
    assert statuses_of(reply, 'Alert') == [200], 'the session goes on'
    assert commands_of(reply, Results) == []


def test_11_only_the_first_session_says_who_is_there(dialect):
    server, client = dialect.device('S', 'theirs'), dialect.device('C', 'ours')
    first = sync(client, server)
    assert len(first.sent(Put, by='client')) == 1
    second = sync(client, server)
    assert second.sent(Put) == second.sent(Get) == []
    values = client.adapter.record.devinf
    client.adapter.record.devinf = {**values, 'modelName': 'newer'}
    third = sync(client, server)
    [put] = third.sent(Put, by='client')
    assert put.items[0].data.device.modelName == 'newer'
    assert sync(client, server).sent(Put) == []


def test_11_a_put_that_was_refused_is_said_again(dialect):
    server = Server(dialect)
    server.judge = lambda command: 500 if isinstance(command, Put) else 200
    client = dialect.device('C')
    client.sync(server, transport=server)
    server.judge = lambda command: 200
    client.sync(server, transport=server)
    assert len(server.said(Put)) == 2
    client.sync(server, transport=server)
    assert len(server.said(Put)) == 2


# --- 13: which datastore --------------------------------------------------------------------------


def test_13_an_unknown_datastore_is_not_found_and_others_go_on(dialect):
    server = dialect.device('S', 'theirs')
    client = Client(server, dialect)
    other = changed(client.alert(201).items[0], target=Location('other'))
    reply = client.say(client.put(), Alert(code=201, items=(other,)), client.alert(201))
    assert statuses_of(reply, 'Alert') == [404, 200]
    [alert] = commands_of(reply, Alert)
    assert (alert.items[0].target_uri, alert.items[0].source_uri) == ('x', 'items')
    assert [url_of(change.items[0]) for change in client.send()] == ['theirs']


def test_13_an_unsupported_alert_is_406(dialect):
    client = Client(dialect.device('S'), dialect)
    reply = client.begin(201, client.alert(250))
    assert statuses_of(reply, 'Alert') == [406, 200]


def test_13_no_type_in_common_is_415(dialect):
    agent = BookmarkAgent()
    agent.contentTypes = [pysyncml.ContentTypeInfo('text/x-other', '1.0', preferred=True)]
    client = Client(dialect.device('S', agent=agent), dialect)
    reply = client.begin(201)
    assert statuses_of(reply, 'Alert') == [415]
    assert commands_of(reply, Alert) == []


# --- 16: where to, and whether to answer ----------------------------------------------------------


def test_16_later_messages_go_where_the_server_says(dialect):
    server = Server(dialect, resp_uri='http://S/here?session=1')
    dialect.device('C').sync(server, transport=server)
    assert server.urls[0] == 'http://S/'
    assert set(server.urls[1:]) == {'http://S/here?session=1'}


def test_16_without_such_an_address_all_messages_go_to_the_same(dialect):
    server = Server(dialect)
    dialect.device('C').sync(server, transport=server)
    assert set(server.urls) == {'http://S/'}


def test_16_who_wants_no_status_gets_none(dialect):
    server = dialect.device('S', 'theirs')
    client = Client(server, dialect)
    reply = client.begin(201, client.get(), no_resp=True)
    assert commands_of(reply, Status) == []
    assert len(commands_of(reply, Results)) == 1, 'an answer is no Status'
    reply = client.say(client.sync(add('1', 'ours')), no_resp=True)
    assert commands_of(reply, Status) == []
    assert [url_of(change.items[0]) for change in commands_of(reply, Add)] == ['theirs']
    assert urls(server) == ['ours', 'theirs']
    client.referee.judges = ()
    reply = client.say(no_resp=True)
    assert [(s.cmd, s.code) for s in commands_of(reply, Status)] == [('SyncHdr', 200)], (
        'a body must not be empty'
    )


def test_16_a_command_may_want_none(dialect):
    client = Client(dialect.device('S'), dialect)
    client.begin(201)
    quiet = changed(add('1', 'quiet'), no_resp=True)
    reply = client.say(client.sync(quiet, add('2', 'loud')))
    assert [(s.cmd, s.code) for s in commands_of(reply, Status)][1:] == [
        ('Alert', 200),
        ('Sync', 200),
        ('Add', 201),
    ][1:]
    assert urls(client.server) == ['loud', 'quiet']


def test_16_our_client_does_not_answer_who_wants_no_answer(dialect):
    def quiet(server, request, due):
        return changed(due, header=changed(due.header, no_resp=True))

    server = Server(dialect, script={1: quiet})
    client = dialect.device('C', 'ours')
    client.sync(server, transport=server)
    assert commands_of(server.requests[1], Status) == []
    assert len(server.said(Add)) == 1


# --- 17: numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize('session_id', ['1', '42', 'f00d', '65535'])
def test_17_numbers_of_sessions_messages_and_commands(dialect, session_id):
    """The referee checks the numbers; here are sessions long enough to have some."""
    server = dialect.device('S', *(f'theirs{n}' for n in range(3)))
    client = Client(server, dialect, session_id=session_id)
    client.begin(201, client.get())
    client.say(client.sync(add('1', 'a')), final=False)
    client.say(client.sync(add('2', 'b')), final=False)
    received = client.send(add('3', 'c'))
    reply = client.confirm([(c.items[0].source_uri, f'l{n}') for n, c in enumerate(received)])
    assert reply.header.session_id == session_id
    assert [m.header.msg_id for m in client.referee.said['server']] == list('12345')
    assert urls(server) == ['a', 'b', 'c', 'theirs0', 'theirs1', 'theirs2']


def test_17_our_client_counts_too(dialect):
    server = Server(dialect, changes=[add('g1', 'theirs')])
    client = dialect.device('C', 'ours')
    for _ in range(2):
        client.sync(server, transport=server)
    ids = [[message.header.msg_id for message in session] for session in server.sessions]
    assert all(numbers == [str(n + 1) for n in range(len(numbers))] for numbers in ids)
    first, second = (session[0].header.session_id for session in server.sessions)
    assert first != second


def test_17_a_server_may_count_as_it_likes(dialect):
    """Each side counts for itself: what a Status refers to is the number the other side gave."""

    def jump(server, request, due):
        server.count += 10
        return changed(due, header=changed(due.header, msg_id=str(server.count)))

    server = Server(dialect, script={1: jump, 2: jump, 3: jump}, changes=[add('g1', 'theirs')])
    client = dialect.device('C', 'ours')
    stats = client.sync(server, transport=server)['items']
    assert (stats.hereAdd, stats.peerAdd, stats.errors) == (1, 1, 0)


# --- 18: bytes ------------------------------------------------------------------------------------


class Written(Client):
    """A client whose messages go through ``rewrite`` before they are sent."""

    rewrite = staticmethod(lambda body: body)
    kind: str | None = None
    rewritten = 0

    def carry(self, content_type, body):
        written = self.rewrite(body)
        self.rewritten += written != body
        return super().carry(self.kind or content_type, written)


def _with_doctype(body):
    prolog = (
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        b'<!DOCTYPE SyncML PUBLIC "-//SYNCML//DTD SyncML 1.2//EN" '
        b'"http://www.openmobilealliance.org/tech/DTD/OMA-TS-SyncML_RepPro_DTD-V1_2.dtd">\n'
    )
    return prolog + _bare(body)


def _bare(body):
    return re.sub(rb'^<\?xml.*?\?>\s*', b'', body)


def _with_comments(body):
    return body.replace(b'<SyncBody>', b'<!-- here -->\n<SyncBody><!-- and < there & -->\n  ')


def _with_cdata(body):
    return re.sub(
        rb'<Data>(\{[^<]*)</Data>',
        lambda m: b'<Data><![CDATA[' + html.unescape(m[1].decode()).encode() + b']]></Data>',
        body,
    )


VARIANTS = {
    'as it is': lambda body: body,
    'byte order mark': lambda body: b'\xef\xbb\xbf' + body,
    'no prolog': _bare,
    'doctype': _with_doctype,
    'no namespace': lambda body: re.sub(rb'(<SyncML) xmlns="[^"]*"', rb'\1', body),
    'no namespaces at all': lambda body: re.sub(rb' xmlns="[^"]*"', b'', body),
    'lower case namespace': lambda body: body.replace(b'SYNCML:SYNCML', b'syncml:syncml'),
    'comments and blanks': _with_comments,
    'CDATA': _with_cdata,
    'empty Final': lambda body: body.replace(b'<Final/>', b'<Final></Final>'),
    'UTF-16': lambda body: (
        '<?xml version="1.0" encoding="UTF-16"?>' + _bare(body).decode()
    ).encode('utf-16'),
    'unknown elements': lambda body: body.replace(
        b'</SyncHdr>', b'<Vendor><X>1</X></Vendor></SyncHdr>'
    ).replace(b'<Final/>', b'<Vendor/><Final/>'),
}


@pytest.mark.parametrize('name', VARIANTS)
def test_18_xml_may_be_written_in_many_ways(name):
    server = XML.device('S', 'theirs')
    client = Written(server, XML)
    client.rewrite = VARIANTS[name]
    title = 'less < more & "more" ü ]] >'
    client.begin(201)
    [received] = client.send(add('1', 'ours', title))
    client.confirm([(received.items[0].source_uri, '2')])
    assert bool(client.rewritten) == (name != 'as it is')
    assert contents(server) == [('ours', title), ('theirs', 'title of theirs')]
    client.session(200, delete('2'))
    assert urls(server) == ['ours']


@pytest.mark.parametrize(
    'kind', ['{}; charset=utf-8', '{};charset="UTF-8"', '{} ; Charset=Utf-8', 'text/xml', '']
)
def test_18_the_content_type_may_say_more_or_less(dialect, kind):
    """Where it says nothing useful, the first bytes say what they are."""
    server = dialect.device('S', 'theirs')
    client = Written(server, dialect)
    client.kind = kind.format(f'application/vnd.syncml+{dialect.encoding}')
    assert header_status(client.begin(201)) == 200
    client.send(add('1', 'ours'))
    assert urls(server) == ['ours', 'theirs']


@pytest.mark.parametrize('body', [b'<html><body>x</body></html>', b'no markup', b'{}', b'\xff\xfe'])
@pytest.mark.parametrize('kind', ['text/html', 'application/octet-stream', 'image/png'])
def test_18_what_is_no_message_is_an_http_error(dialect, body, kind):
    server = dialect.device('S', 'theirs')
    response = Written(server, dialect).carry(kind, body)
    assert response.status in (400, 415)
    assert not response.content_type.startswith('application/vnd.syncml')
    assert sync(dialect.device('C'), server).requests, 'the server goes on'


def test_18_a_client_takes_only_messages_for_answers(dialect):
    """A login page of a network, say, is no answer."""
    client = dialect.device('C', 'ours')

    def portal(server, request, due):
        return b'<html><body>Please log in</body></html>'

    server = Server(dialect, script=dict.fromkeys(range(1, 20), portal))
    with pytest.raises(pysyncml.SyncmlError, match='no SyncML message'):
        client.sync(server, transport=server)
    assert urls(client) == ['ours']
