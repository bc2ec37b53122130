"""What peers get wrong, and is read all the same."""

from __future__ import annotations

import base64

import pytest

from pysyncml.codec import decode
from pysyncml.errors import CodecError, UnknownCodec
from pysyncml.protocol.devinf import DevInf
from pysyncml.protocol.messages import Add, Alert, Anchor, Location, Meta, Put, Sync
from tests.codec.support import TYPE, read, read_item, written

ALERT = '<Alert><CmdID>1</CmdID><Data>200</Data></Alert><Final></Final>'
DEVINF = '<DevInf><VerDTD>1.2</VerDTD><DevID>d</DevID></DevInf>'


@pytest.mark.parametrize(
    'root',
    [
        '<SyncML>',
        '<SyncML xmlns="SYNCML:SYNCML1.2">',
        '<SyncML xmlns="syncml:syncml1.2">',
        '<SyncML xmlns="http://odd.example/SyncML">',
        '<syncml>',
        '<s:SyncML xmlns="SYNCML:SYNCML1.1" xmlns:s="SYNCML:SYNCML1.2">',
    ],
)
def test_any_namespace_or_none(root):
    message = read(ALERT, root)
    assert message.commands == (Alert(cmd_id='1', code=200),)
    assert message.final


def test_prefixes():
    root = '<s:SyncML xmlns:s="SYNCML:SYNCML1.2" xmlns:m="syncml:metinf">'
    header = '<s:SyncHdr><s:Source><s:LocURI>c</s:LocURI></s:Source></s:SyncHdr>'
    body = (
        '<s:Add><s:CmdID>1</s:CmdID><s:Meta><m:Type>text/plain</m:Type></s:Meta>'
        '<s:Item><s:Data>x</s:Data></s:Item></s:Add>'
    )
    text = f'{root}{header}<s:SyncBody>{body}</s:SyncBody></s:SyncML>'
    (add,) = decode(TYPE, text.encode()).commands
    assert (add.items[0].meta.type, add.items[0].data) == ('text/plain', b'x')


def test_private_elements_are_passed_over():
    root = '<SyncML xmlns="SYNCML:SYNCML1.2" xmlns:v="vendor">'
    message = read(f'<v:Add><CmdID>9</CmdID></v:Add><Odd><Add/></Odd>{ALERT}', root)
    assert message.commands == (Alert(cmd_id='1', code=200),)


def test_elements_in_any_order():
    text = (
        '<SyncML><SyncBody><Final/><Add><Item><Data>x</Data><Source><LocURI>1</LocURI></Source>'
        '</Item><Meta><Type>t/x</Type></Meta><CmdID>1</CmdID></Add></SyncBody>'
        '<SyncHdr><Source><LocURI>c</LocURI></Source><MsgID>7</MsgID></SyncHdr></SyncML>'
    )
    message = decode(TYPE, text.encode())
    assert (message.header.msg_id, message.final) == ('7', True)
    (add,) = message.commands
    assert (add.cmd_id, add.items[0].data, add.items[0].meta.type) == ('1', b'x', 't/x')


@pytest.mark.parametrize(
    'before',
    [
        '\ufeff',
        '\ufeff<?xml version="1.0" encoding="UTF-8"?>',
        '\r\n <?xml version="1.0"?>\n',
        '<!DOCTYPE SyncML PUBLIC "-//SYNCML//DTD SyncML 1.2//EN" "http://x/y.dtd">',
        '<!-- a comment --><?pi?>',
    ],
)
def test_what_may_stand_before(before):
    header = '<SyncHdr><Source><LocURI>c</LocURI></Source></SyncHdr>'
    text = f'{before}<SyncML>{header}<SyncBody>{ALERT}</SyncBody></SyncML>'
    assert decode(TYPE, text.encode()).commands[0].code == 200


@pytest.mark.parametrize('encoding', ['utf-16', 'iso-8859-1', 'windows-1252', 'utf-8'])
def test_the_document_says_its_encoding(encoding):
    text = (
        f'<?xml version="1.0" encoding="{encoding}"?><SyncML><SyncHdr><Source><LocURI>ü</LocURI>'
        '</Source></SyncHdr></SyncML>'
    )
    message = decode(f'{TYPE}; charset=us-ascii', text.encode(encoding))
    assert message.header.source.uri == 'ü'


def test_the_transport_says_the_encoding():
    text = '<SyncML><SyncHdr><Source><LocURI>ü</LocURI></Source></SyncHdr></SyncML>'
    message = decode(f'{TYPE}; charset="ISO-8859-1"', text.encode('latin-1'))
    assert message.header.source.uri == 'ü'


def test_numeric_references():
    assert read_item('<Data>&#233;&#x1F389;</Data>').data == 'é🎉'.encode()


@pytest.mark.parametrize(
    'kind', [TYPE, TYPE.upper(), f'{TYPE};charset=UTF-8', 'text/html', '', None]
)
def test_the_bytes_count_more_than_the_type(kind):
    text = '<SyncML><SyncHdr><Source><LocURI>c</LocURI></Source></SyncHdr></SyncML>'
    assert decode(kind, text.encode()).header.source == Location('c')


@pytest.mark.parametrize(
    ('kind', 'data'),
    [
        ('text/html', b'<html><body>404</body></html>'),
        ('text/plain', b'\x00\xa4\x01\x6a\x00\x6d\x01'),
        ('application/octet-stream', b''),
    ],
)
def test_what_no_codec_knows(kind, data):
    with pytest.raises(UnknownCodec) as caught:
        decode(kind, data)
    assert '\n' not in str(caught.value)


def test_what_a_header_needs():
    with pytest.raises(CodecError, match='SyncHdr'):
        decode(TYPE, b'<SyncML><SyncBody/></SyncML>')
    with pytest.raises(CodecError, match='who sent'):
        decode(TYPE, b'<SyncML><SyncHdr><MsgID>1</MsgID></SyncHdr></SyncML>')
    with pytest.raises(CodecError, match='html'):
        decode(TYPE, b'<html/>')


@pytest.mark.parametrize(
    ('words', 'version'),
    [
        ('<VerProto>SyncML/1.1</VerProto>', '1.1'),
        ('<VerDTD>1.0</VerDTD>', '1.0'),
        ('<VerDTD>1.9</VerDTD><VerProto>SyncML/1.9</VerProto>', '1.9'),
        ('', '1.2'),
    ],
)
def test_version(words, version):
    header = f'<SyncHdr>{words}<Source><LocURI>c</LocURI></Source></SyncHdr>'
    assert read('', header=header).header.version == version


# --- Meta ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'inside',
    [
        '<Meta><Type xmlns="syncml:metinf">t/x</Type></Meta>',
        '<Meta xmlns="syncml:metinf"><Type>t/x</Type></Meta>',
        '<Meta><MetInf xmlns="syncml:metinf"><Type>t/x</Type></MetInf></Meta>',
        '<Meta><Type> t/x\n</Type></Meta>',
        '<Meta><Format>chr</Format><Type>t/x</Type></Meta>',
        '<Type xmlns="syncml:metinf">t/x</Type>',
    ],
)
def test_meta_wherever_it_is(inside):
    assert read_item(f'{inside}<Data>x</Data>').meta == Meta(type='t/x')
    assert read_item('<Data>x</Data>', inside).meta == Meta(type='t/x')


def test_an_item_inherits_what_it_does_not_say():
    command = '<Meta><Type>t/x</Type><Size>9</Size></Meta>'
    assert read_item('<Data>x</Data>', command).meta == Meta(type='t/x', size=9)
    item = read_item('<Meta><Size>0</Size></Meta><Data>x</Data>', command)
    assert item.meta == Meta(type='t/x', size=0)


def test_an_anchor_beside_the_item():
    body = (
        '<Alert><CmdID>1</CmdID><Data>200</Data><Meta><Anchor><Last>1 </Last><Next>2</Next>'
        '</Anchor></Meta><Item><Source><LocURI>n</LocURI></Source></Item></Alert>'
    )
    assert read(body).commands[0].items[0].meta.anchor == Anchor('2', '1')


def test_an_anchor_as_data():
    for inside in ('{}', '<MetInf>{}</MetInf>', '\n {} \n'):
        anchor = inside.format('<Anchor xmlns="syncml:metinf"><Next>5</Next></Anchor>')
        assert read_item(f'<Data>{anchor}</Data>').data == Anchor('5')


@pytest.mark.parametrize('number', ['-1', 'x', '', '9' * 5000, '1_0', '٣', '1.5'])
def test_numbers_that_are_none(number):
    assert read_item(f'<Meta><Type>t</Type><Size>{number}</Size></Meta>').meta == Meta(type='t')
    assert read(f'<Alert><Data>{number}</Data></Alert>').commands[0].code == 0


def test_other_spellings():
    mem = '<Mem><FreeMem>10</FreeMem><FreeId>2</FreeId></Mem>'
    body = f'<Sync><CmdID>1</CmdID><Meta>{mem}</Meta></Sync>'
    (sync,) = read(body).commands
    assert isinstance(sync, Sync)
    assert (sync.meta.mem.free_mem, sync.meta.mem.free_id) == (10, 2)


def test_missing_values_have_defaults():
    body = '<Map><MapItem/></Map><Sync><Target/></Sync><Status><Chal/><Cred/></Status><Add/>'
    commands = read(body).commands
    assert commands[0].items[0].target == ''
    assert commands[1].target == Location('')
    assert commands[2].chal.type == ''
    assert commands[3] == Add()


# --- data ---------------------------------------------------------------------------------------


def test_data_keeps_its_blanks():
    assert read_item('<Data>  a\n\tb \n</Data>').data == b'  a\n\tb \n'
    assert read_item('<Data>\n</Data>').data == b'\n'


def test_empty_and_missing_data_are_not_the_same():
    assert read_item('<Data/>').data == b''
    assert read_item('<Data></Data>').data == b''
    assert read_item('').data is None


@pytest.mark.parametrize(
    'text', ['a &lt;&amp;&gt; b', '<![CDATA[a <&> b]]>', 'a <![CDATA[<]]><![CDATA[&]]>&gt; b']
)
def test_escaped_or_not(text):
    assert read_item(f'<Data>{text}</Data>').data == b'a <&> b'


def test_base64_is_taken_off():
    text = base64.encodebytes(bytes(range(256))).decode()
    for meta in ('b64', 'B64'):
        item = read_item(f'<Meta><Format>{meta}</Format></Meta><Data>{text}</Data>')
        assert (item.data, item.meta) == (bytes(range(256)), None)
    item = read_item(f'<Data>{text}</Data>', '<Meta><Format>b64</Format><Type>t/x</Type></Meta>')
    assert (item.data, item.meta) == (bytes(range(256)), Meta(type='t/x'))


@pytest.mark.parametrize('text', ['no base64!', 'YWJ', 'YWJjZ', 'YQ==YQ=='])
def test_base64_that_is_none_stays(text):
    item = read_item(f'<Meta><Format>b64</Format></Meta><Data>{text}</Data>')
    assert (item.data, item.meta) == (text.encode(), Meta(format='b64'))


def test_markup_in_data_becomes_text():
    xml = '<note><Body a="&quot;1">x &amp; y<br></br></Body></note>'
    item = read_item(f'<Meta><Format>xml</Format></Meta><Data>{xml}</Data><MoreData/>')
    assert item.data == b"<note><Body a='\"1'>x &amp; y<br></br></Body></note>"
    assert item.meta == Meta(format='xml')
    assert item.more_data


def test_markup_in_data_keeps_its_namespaces():
    xml = '<f:File xmlns:f="urn:f" xmlns:g="urn:g" xml:lang="en" g:k="v"><f:a/><Item/></f:File>'
    data = read_item(f'<Data> &lt; {xml} after</Data>').data.decode()
    assert data == (
        ' &lt; <File xmlns="urn:f" xml:lang="en" xmlns:a1="urn:g" a1:k="v"><a></a>'
        '<Item xmlns=""></Item></File> after'
    )


@pytest.mark.parametrize(
    'data',
    [
        DEVINF,
        DEVINF.replace('<DevInf>', '<DevInf xmlns="syncml:devinf">'),
        DEVINF.replace('DevID', 'DevId'),
        f'<![CDATA[{DEVINF}]]>',
        f'<![CDATA[<?xml version="1.0"?>\n{DEVINF}]]>',
        DEVINF.replace('<', '&lt;'),
    ],
)
@pytest.mark.parametrize(
    'meta', ['', '<Meta><Type>application/vnd.syncml-devinf+xml</Type></Meta>']
)
def test_device_information_as_elements_or_as_text(data, meta):
    (put,) = read(f'<Put><CmdID>1</CmdID>{meta}<Item><Data>{data}</Data></Item></Put>').commands
    assert isinstance(put, Put)
    assert isinstance(put.items[0].data, DevInf)
    assert put.items[0].data.device.devID == 'd'


def test_a_note_about_device_information_is_a_note():
    assert read_item(f'<Data><![CDATA[{DEVINF}]]></Data>').data == DEVINF.encode()


def test_broken_device_information_stays_text():
    (put,) = read('<Put><Item><Data>&lt;DevInf></Data></Item></Put>').commands
    assert put.items[0].data == b'<DevInf>'


def test_bytes_that_xml_does_not_allow():
    start = b'<SyncML><SyncHdr><Source><LocURI>c</LocURI></Source></SyncHdr><SyncBody>'
    item = b'<Source><LocURI>a\x01\xff</LocURI></Source><Data>\xfc\x00 &#233;</Data>'
    data = start + b'<Add><Item>' + item + b'</Item></Add>' + b'</SyncBody></SyncML>'
    (add,) = decode(TYPE, data).commands
    assert add.items[0].data == b'\xfc\x00 ' + 'é'.encode()
    assert add.items[0].source_uri == 'a\ufffd\ufffd'  # can be written again
    assert 'b64' in written(add)
    with pytest.raises(CodecError):
        decode(TYPE, data.replace(b'&#233;', '\U0010ff01'.encode()))


def test_a_bare_digest_becomes_base64():
    digest = bytes(range(0xF0, 0x100))
    data = b'<SyncML><SyncHdr><Source><LocURI>c</LocURI></Source><Cred><Data>' + digest
    data += b'</Data></Cred></SyncHdr></SyncML>'
    assert decode(TYPE, data).header.cred.data == base64.b64encode(digest).decode()


# --- more of what real peers send ---------------------------------------------------------------


def test_prefixes_that_nobody_declared():
    body = (
        '<Add><CmdID>1</CmdID><Meta><m:Type>t/x</m:Type><m:Size v:unit="B">1</m:Size></Meta>'
        '<Item><Data>x</Data></Item></Add>'
    )
    (add,) = read(body).commands
    assert add.meta == Meta(type='t/x', size=1)
    own = '<v:Add xmlns:v="urn:vendor"><CmdID>2</CmdID></v:Add>'
    assert read(body + own).commands == (add,), 'private elements stay private'
    with pytest.raises(CodecError, match='prefix'):
        read(''.join(f'<p{n}:Odd/>' for n in range(100)))


def test_undeclared_prefixes_and_characters_that_xml_does_not_allow():
    item = read_item('<Meta><m:Type>t/x</m:Type></Meta><Data>\x01</Data>')
    assert (item.data, item.meta) == (b'\x01', Meta(type='t/x'))


@pytest.mark.parametrize(
    'before', ['<!DOCTYPE SyncML>', '<?xml version="1.0"?><!DOCTYPE SyncML SYSTEM "a.dtd">']
)
def test_a_doctype_that_declares_nothing(before):
    header = '<SyncHdr><Source><LocURI>c</LocURI></Source></SyncHdr>'
    text = f'{before}<SyncML>{header}<SyncBody>{ALERT}</SyncBody></SyncML>'
    assert decode(TYPE, text.encode()).commands[0].code == 200


def test_an_error_element_in_a_status():
    error = '<Error><Code>1</Code><Message>no &lt;way&gt;</Message><Trace>a\nb</Trace></Error>'
    body = (
        '<Status><CmdID>1</CmdID><MsgRef>1</MsgRef><CmdRef>0</CmdRef><Cmd>SyncHdr</Cmd>'
        f'<SourceRef>s</SourceRef><TargetRef>t</TargetRef><Data>500</Data>{error}</Status>'
    )
    (status,) = read(body).commands
    assert (status.code, status.target_refs, status.source_refs) == (500, ('t',), ('s',))


def test_blanks_around_values():
    header = (
        '<SyncHdr><VerDTD>1.1 </VerDTD><VerProto> SyncML/1.1 </VerProto><SessionID> 7\n'
        '</SessionID><MsgID>1 </MsgID><Source><LocURI> c </LocURI></Source></SyncHdr>'
    )
    found = read('', header=header).header
    assert (found.version, found.dtd_version, found.session_id) == ('1.1', '1.1', '7')
    assert found.source == Location('c')


@pytest.mark.parametrize(
    'data',
    [
        '&lt;Anchor xmlns="syncml:metinf">&lt;Next>5&lt;/Next>&lt;/Anchor>',
        '<![CDATA[<MetInf><Anchor><Next>5 </Next></Anchor></MetInf>]]>',
    ],
)
def test_the_anchor_of_a_status_as_text(data):
    (status,) = read(f'<Status><Item><Data>{data}</Data></Item></Status>').commands
    assert status.items[0].data == Anchor('5')
    (alert,) = read(f'<Alert><Item><Data>{data}</Data></Item></Alert>').commands
    assert isinstance(alert.items[0].data, bytes)


def test_what_a_status_says_in_words_stays_text():
    for words in ('no room', '<html><b>no</b></html>', '<broken'):
        text = words.replace('<', '&lt;')
        (status,) = read(f'<Status><Item><Data>{text}</Data></Item></Status>').commands
        assert status.items[0].data == words.encode()
