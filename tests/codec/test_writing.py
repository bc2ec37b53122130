"""What is written, byte by byte: the order, the namespaces, nothing newer than the version."""

from __future__ import annotations

import pytest

from pysyncml import codec
from pysyncml.codec import cost, decode, encode
from pysyncml.errors import CodecError, LocalProtocolError, UnknownCodec
from pysyncml.protocol.messages import (
    Add,
    Alert,
    Anchor,
    Atomic,
    Chal,
    Command,
    Copy,
    Cred,
    Delete,
    Exec,
    Filter,
    Get,
    Item,
    Location,
    Map,
    MapItem,
    Mem,
    Message,
    Meta,
    Move,
    Put,
    Replace,
    Results,
    Search,
    Sequence,
    Status,
    Sync,
)
from tests.codec.support import again, message, written


def test_the_example_of_a_session():
    meta = Meta(max_msg_size=16000, max_obj_size=4000000)
    cred = Cred('dXNlcjpwYXNz', 'syncml:auth-basic', 'b64')
    alert = Alert(
        cmd_id='1',
        code=200,
        items=(
            Item(
                target=Location('./notes'),
                source=Location('./n'),
                meta=Meta(anchor=Anchor(last='1', next='2')),
            ),
        ),
    )
    assert written(alert, cred=cred, meta=meta) == (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr><VerDTD>1.2</VerDTD>'
        '<VerProto>SyncML/1.2</VerProto><SessionID>1</SessionID><MsgID>1</MsgID>'
        '<Target><LocURI>http://server/sync</LocURI></Target>'
        '<Source><LocURI>dev-1</LocURI><LocName>user</LocName></Source>'
        '<Cred><Meta><Format xmlns="syncml:metinf">b64</Format>'
        '<Type xmlns="syncml:metinf">syncml:auth-basic</Type></Meta>'
        '<Data>dXNlcjpwYXNz</Data></Cred>'
        '<Meta><MaxMsgSize xmlns="syncml:metinf">16000</MaxMsgSize>'
        '<MaxObjSize xmlns="syncml:metinf">4000000</MaxObjSize></Meta></SyncHdr>'
        '<SyncBody><Alert><CmdID>1</CmdID><Data>200</Data><Item>'
        '<Target><LocURI>./notes</LocURI></Target><Source><LocURI>./n</LocURI></Source>'
        '<Meta><Anchor xmlns="syncml:metinf"><Last>1</Last><Next>2</Next></Anchor></Meta>'
        '</Item></Alert><Final/></SyncBody></SyncML>'
    )


def test_status():
    status = Status(
        cmd_id='1',
        msg_ref='1',
        cmd_ref='0',
        cmd='SyncHdr',
        target_refs=('t',),
        source_refs=('s',),
        chal=Chal('syncml:auth-md5', 'b64', b'Nonce'),
        code=401,
        items=(Item(data=Anchor('5')),),
    )
    assert (
        '<Status><CmdID>1</CmdID><MsgRef>1</MsgRef><CmdRef>0</CmdRef><Cmd>SyncHdr</Cmd>'
        '<TargetRef>t</TargetRef><SourceRef>s</SourceRef><Chal><Meta>'
        '<Format xmlns="syncml:metinf">b64</Format>'
        '<Type xmlns="syncml:metinf">syncml:auth-md5</Type>'
        '<NextNonce xmlns="syncml:metinf">Tm9uY2U=</NextNonce></Meta></Chal><Data>401</Data>'
        '<Item><Data><Anchor xmlns="syncml:metinf"><Next>5</Next></Anchor></Data></Item></Status>'
    ) in written(status)
    assert again(status) == (status,)


EVERY: list[Command] = [
    Add(cmd_id='1', meta=Meta(type='t/x'), items=(Item(meta=Meta(type='t/x'), data=b'a'),)),
    Replace(cmd_id='1', no_resp=True, cred=Cred('x'), items=(Item(target=Location('1')),)),
    Copy(cmd_id='1', items=(Item(source=Location('1')),)),
    Move(cmd_id='1', items=(Item(source_parent='p', target_parent='q'),)),
    Delete(cmd_id='1', archive=True, soft=True, items=(Item(target=Location('1')),)),
    Put(cmd_id='1', lang='en', items=(Item(data=b'x'),)),
    Get(cmd_id='1', lang='en', items=(Item(target=Location('./devinf12')),)),
    Results(cmd_id='1', msg_ref='1', cmd_ref='2', target_ref='a', source_ref='b'),
    Exec(cmd_id='1', correlator='c', items=(Item(data=b'x'),)),
    Search(
        cmd_id='1',
        no_results=True,
        target=Location('t'),
        sources=(Location('a'), Location('b')),
        lang='en',
        meta=Meta(type='t/x'),
        data='query <&>',
    ),
    Map(
        cmd_id='1',
        target=Location('a'),
        source=Location('b'),
        items=(MapItem('1', 'a'), MapItem('2', 'b')),
    ),
    Sync(
        cmd_id='1',
        target=Location(
            'a',
            'A',
            Filter(
                meta=Meta(type='syncml:filtertype-cgi'),
                field=Item(data=b'f'),
                record=Item(data=b'r\x00'),
                filter_type='INCLUSIVE',
            ),
        ),
        source=Location('b'),
        meta=Meta(mem=Mem(free_mem=10, free_id=5, shared=True), emi=('a', 'b')),
        number_of_changes=0,
        commands=(
            Atomic(cmd_id='2', commands=(Sequence(cmd_id='3', commands=(Add(cmd_id='4'),)),)),
            Delete(cmd_id='5'),
        ),
    ),
    Alert(cmd_id='1', code=222, correlator='c', cred=Cred('x', 'a', 'b64')),
]


@pytest.mark.parametrize('command', EVERY, ids=lambda c: c.name)
def test_every_command_comes_back(command):
    assert again(command) == (command,)


def test_several_commands_keep_their_order():
    assert again(*EVERY) == tuple(EVERY)


# --- what an item carries -----------------------------------------------------------------------


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b' ',
        b'\n',
        b'plain',
        b'<&>]]> "\'',
        b'a\r\nb',
        b'\r',
        b'\x00',
        b'\x0c',
        b'\x1b[0m',
        b'\xff\xfe',
        b'\xed\xa0\x80',
        bytes(range(256)),
        '\ufeff\u0085\u2028é🎉\x7f\x9f'.encode(),
        '\ufffe\uffff'.encode(),
        '\U0010ff00'.encode(),
    ],
)
@pytest.mark.parametrize('meta', [None, Meta(type='t/x'), Meta(format='xml'), Meta(format='bin')])
@pytest.mark.parametrize('above', [None, Meta(type='t/y'), Meta(format='xml')])
def test_any_bytes(data, meta, above):
    (add,) = again(Add(meta=above, items=(Item(meta=meta, data=data),)))
    assert add.items[0].data == data


def test_base64_only_where_it_is_needed():
    meta = Meta(type='t/x')
    plain, other = Item(meta=meta, data=b'<a>\n'), Item(meta=meta, data=b'\r')
    text = written(Add(meta=meta, items=(plain, other)))
    assert (
        '<Item><Data>&lt;a&gt;\n</Data></Item>'
        '<Item><Meta><Format xmlns="syncml:metinf">b64</Format>'
        '<Type xmlns="syncml:metinf">t/x</Type></Meta><Data>DQ==</Data></Item>'
    ) in text
    assert again(Add(meta=meta, items=(plain, other)))[0].items == (plain, other)


def test_a_format_of_the_command_does_not_reach_plain_items():
    (add,) = again(Add(meta=Meta(format='b64'), items=(Item(data=b'YQ=='),)))
    assert add.items[0] == Item(data=b'YQ==')


def test_no_numeric_references():
    text = written(Add(items=(Item(source=Location('é🎉'), data='ü🎉'.encode()),)))
    assert '&#' not in text and 'é🎉' in text
    assert '&#13;' in written(Add(items=(Item(source=Location('a\rb')),)))


@pytest.mark.parametrize('text', ['a\x00', '\x1b', '\udc80', '\ufffe', 5])
def test_text_that_xml_cannot_carry(text):
    with pytest.raises(LocalProtocolError) as caught:
        written(Add(items=(Item(source=Location(text)),)))
    assert '\n' not in str(caught.value)


def test_device_information_is_written_as_the_message_is():
    for kind in ('application/vnd.syncml-devinf', 'application/vnd.syncml-devinf+wbxml'):
        text = written(Get(meta=Meta(type=kind)))
        assert '>application/vnd.syncml-devinf+xml<' in text


# --- versions -----------------------------------------------------------------------------------


def test_what_is_newer_is_left_out():
    sync = Sync(
        cmd_id='1',
        target=Location('a'),
        source=Location('b'),
        meta=Meta(max_obj_size=5, max_msg_size=6, field_level=True),
        number_of_changes=3,
        commands=(Add(cmd_id='2', items=(Item(source_parent='p', data=b'x'),)),),
    )
    assert 'SourceParent' in written(sync) and 'FieldLevel' in written(sync)
    newer = written(sync, version='1.1')
    assert 'NumberOfChanges' in newer and 'MaxObjSize' in newer
    assert 'SourceParent' not in newer and 'FieldLevel' not in newer
    old = written(sync, version='1.0')
    assert 'xmlns="SYNCML:SYNCML1.0"' in old and 'MaxMsgSize' in old
    assert 'NumberOfChanges' not in old and 'MaxObjSize' not in old


@pytest.mark.parametrize(
    ('command', 'version'),
    [
        (Move(items=(Item(),)), '1.1'),
        (Sync(commands=(Move(),)), '1.1'),
        (Add(items=(Item(more_data=True),)), '1.0'),
        (Sync(target=Location('a', filter=Filter())), '1.1'),
        (Command(), '1.2'),
    ],
)
def test_what_cannot_be_left_out(command, version):
    with pytest.raises(LocalProtocolError):
        written(command, version=version)


def test_an_unknown_version_is_echoed():
    text = written(Alert(code=200), version='1.7')
    assert '<VerProto>SyncML/1.7</VerProto>' in text
    assert 'SYNCML:SYNCML1.2' in text


# --- the package --------------------------------------------------------------------------------


def test_content_type():
    content_type, data = encode(message())
    assert content_type == 'application/vnd.syncml+xml'
    assert isinstance(decode(content_type, data), Message)


def test_names():
    assert codec.names()[0] == 'xml'
    assert codec.get('xml').name == 'xml'
    with pytest.raises(UnknownCodec, match='known are: xml'):
        encode(message(), 'morse')
    assert issubclass(UnknownCodec, CodecError)


@pytest.mark.parametrize('command', EVERY, ids=lambda c: c.name)
def test_cost(command):
    with_it = encode(message(Alert(code=1), command))[1]
    without = encode(message(Alert(code=1)))[1]
    assert cost(command) == len(with_it) - len(without)


def test_cost_depends_on_the_version():
    sync = Sync(number_of_changes=3)
    assert cost(sync, version='1.0') < cost(sync)


@pytest.mark.parametrize('text', ['  blanks', '\n\nlines <a> & b', '\ttab ]]> ]]]]>', ' ', '\n'])
def test_what_begins_with_blanks_is_kept_from_scanners_that_leave_them_out(text):
    add = Add(cmd_id='1', items=(Item(source=Location('1'), data=text.encode()),))
    assert f'<Data><![CDATA[{text[0]}' in written(add)
    assert again(add)[0].items[0].data == text.encode()


def test_other_texts_are_no_sections():
    add = Add(cmd_id='1', items=(Item(source=Location('1'), data=b'a <b> \n '),))
    assert '<Data>a &lt;b&gt; \n </Data>' in written(add)
