"""Where an item that is too large for one message is cut."""

from __future__ import annotations

import pytest

from pysyncml.codec import decode
from pysyncml.protocol.messages import Add
from pysyncml.transport import Request
from tests.sync.support import Wire, bookmark, device, find, statuses, urls


def parts_of(title, *, limit=2000):
    """Send a bookmark with this *title* in small messages; return its parts, and what arrived."""
    server, client = device('S', maxMsgSize=limit), device('C')
    client.add(bookmark('x', title))
    wire = Wire(server)
    client.sync(server, transport=wire)
    arrived = server.agent.getItem(find(server, 'x')).title
    parts = [add.items[0] for add in wire.sent(Add, by='client')]
    assert len(parts) > 2
    assert [part.more_data for part in parts] == [True] * (len(parts) - 1) + [False]
    return parts, arrived


@pytest.mark.parametrize('gap', [' ', '   ', '\u00e4 '])
def test_no_part_begins_with_a_blank(gap):
    """Scanners that leave blanks out at the beginning (libsynthesis) would find the Size wrong."""
    title = f'12345{gap}' * 1500
    parts, arrived = parts_of(title)
    assert arrived == title
    assert not any(part.data[:1].isspace() for part in parts)


def test_long_gaps_go_as_base64():
    title = ('x' + 1000 * ' ') * 10
    parts, arrived = parts_of(title)
    assert arrived == title
    assert parts[0].meta.size > len(title) * 4 // 3  # a Size counts what is transferred


_MESSAGE = (
    '<?xml version="1.0"?><SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr><VerDTD>1.2</VerDTD>'
    '<VerProto>SyncML/1.2</VerProto><SessionID>1</SessionID><MsgID>{number}</MsgID>'
    '<Target><LocURI>http://S/</LocURI></Target><Source><LocURI>C</LocURI></Source></SyncHdr>'
    '<SyncBody>{body}</SyncBody></SyncML>'
)
_ALERT = (
    '<Alert><CmdID>1</CmdID><Data>201</Data><Item><Target><LocURI>items</LocURI></Target>'
    '<Source><LocURI>x</LocURI></Source><Meta><Anchor xmlns="syncml:metinf"><Next>1</Next></Anchor>'
    '</Meta></Item></Alert><Final/>'
)
_PART = (
    '<Sync><CmdID>1</CmdID><Target><LocURI>items</LocURI></Target><Source><LocURI>x</LocURI>'
    '</Source><Add><CmdID>2</CmdID><Meta><Type xmlns="syncml:metinf">text/x-bookmark</Type></Meta>'
    '<Item><Source><LocURI>1</LocURI></Source><Meta>{meta}</Meta><Data><![CDATA[{data}]]></Data>'
    '{more}</Item></Add></Sync>'
)


@pytest.mark.parametrize('inside', [0, 1, 2])
def test_a_part_may_end_inside_of_a_line_end(inside):
    """SyncEvolution sends CRLF, cuts where the message is full, and counts in its own bytes."""
    text = '{\r\n"url":\r\n"x",\r\n"title":\r\n"a title"\r\n}\r\n'
    cut = text.index('"title"') - 2 + inside
    server = device('S')
    answers = []

    def post(number, body):
        content = _MESSAGE.format(number=number, body=body).encode()
        headers = {'content-type': 'application/vnd.syncml+xml'}
        response = server.handle(Request(url='http://S/', headers=headers, body=content))
        answers.append(statuses(decode(response.content_type, response.body)))

    space = 'xmlns="syncml:metinf"'
    size = f'<Size {space}>{len(text)}</Size><EMI {space}>datapos=0</EMI>'
    post(1, _ALERT)
    post(2, _PART.format(meta=size, data=text[:cut], more='<MoreData/>'))
    place = f'<EMI {space}>datapos={cut}</EMI>'
    post(3, _PART.format(meta=place, data=text[cut:], more='') + '<Final/>')
    assert [each.get('2') for each in answers[1:]] == [213, 201]
    assert urls(server) == ['x']
