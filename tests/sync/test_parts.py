"""Where an item that is too large for one message is cut."""

from __future__ import annotations

import pytest

from pysyncml.protocol.messages import Add
from tests.sync.support import Wire, bookmark, device, find


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
