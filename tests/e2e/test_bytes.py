"""Notes arrive byte for byte, whatever is in them and whatever they are called."""

from __future__ import annotations

import os
import random
import unicodedata

from tests.e2e.devices import Raw
from tests.e2e.harness import World

BODIES = {
    'plain': b'milk\nbread\n',
    'empty': b'',
    'one newline': b'\n',
    'blanks only': b' \t \n\n ',
    'no last newline': b'one\ntwo',
    'CRLF': b'one\r\ntwo\r\n',
    'lone CR': b'one\rtwo\r',
    'every line end': b'a\nb\r\nc\rd\n\re\r\r\n',
    'NUL': b'a\0b\0\0',
    'control characters': bytes(range(32)) + b'\x7f',
    'form feed': b'page\x0cpage',
    'C1 controls': '\x80\x85\x9f\u2028\u2029'.encode(),
    'every byte': bytes(range(256)),
    'Latin-1': 'déjà vu'.encode('latin-1'),
    'half a character': 'é'.encode()[:1],
    'surrogates in UTF-8': b'\xed\xa0\x80\xed\xb0\x80',
    'overlong': b'\xc0\x80\xf8\x88\x80\x80\x80',
    'UTF-8': 'žluťoučký kůň 😀 \U0010ffff'.encode(),
    'not characters': '\ufffe\uffff\ufffd'.encode(),
    'UTF-8 with a BOM': b'\xef\xbb\xbftext\n',
    'only a BOM': b'\xef\xbb\xbf',
    'UTF-16 LE': 'größer\r\n'.encode('utf-16'),
    'UTF-16 BE': b'\xfe\xff' + 'größer\n'.encode('utf-16-be'),
    'UTF-32': 'größer\n'.encode('utf-32'),
    'end of CDATA': b']]>',
    'CDATA': b'<![CDATA[ x ]]> ]]&gt;',
    'XML': b'<?xml version="1.0"?><note><Body enc="base64">x</Body>&lt;&amp;&#13;</note>',
    'a message': b'<SyncML><SyncHdr><VerDTD>1.2</VerDTD></SyncHdr></SyncML>',
    'entities': b'<!DOCTYPE x [<!ENTITY a "b">]>&a;',
    'base64': b'SGVsbG8gV29ybGQ=',
    'base64 of its own kind': b'  SGVs\r\nbG8=\n',
    'gzip': b'\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00',
    'a long line': b'x' * 3_000_000,
    'noise': random.Random(7).randbytes(200_000),
}


def _long(stem: str) -> str:
    return stem * (255 // len(stem.encode()))


NAMES = [
    'plain.txt',
    'no extension',
    'sub/folder/deep/down.txt',
    'sub/folder/beside.txt',
    'Sub/other case.txt',
    ' leading blank.txt',
    'trailing blank.txt ',
    ' ',
    'two  blanks.txt',
    'tab\there.txt',
    ' blank folder /x.txt',
    unicodedata.normalize('NFC', 'één NFC.txt'),
    unicodedata.normalize('NFD', 'één NFD.txt'),
    unicodedata.normalize('NFC', 'same é.txt'),
    unicodedata.normalize('NFD', 'same é.txt'),
    'žluťoučký/kůň.txt',
    '日本語.txt',
    '😀.txt',
    'right to left שלום.txt',
    'zero\u200dwidth.txt',
    '100%.txt',
    '%2F%00%2e%2e.txt',
    '%s %d {0} ${x}.txt',
    '"double".txt',
    "'single'.txt",
    'rock & roll.txt',
    '<b>&amp;</b>.txt',
    ']]>.txt',
    'back\\slash.txt',
    'C:drive.txt',
    'new\nline.txt',
    'carriage\rreturn.txt',
    'trailing dot.',
    'many...dots...',
    '.hidden',
    '-rf.txt',
    '--server',
    '@file',
    '#number.txt',
    'a(1).txt',
    'a.txt',
    'a(1)(2).txt',
    'star*question?.txt',
    'pipe|colon:semi;.txt',
    'control\x01\x1f\x7f.txt',
    'NUL',
    'con.txt',
    'title: x.txt',
    'note (conflict other 2020-01-01).txt',
    _long('x'),
    _long('é'),
    f'{_long("y")}/{_long("z")}',
    os.fsdecode(b'latin-1 \xe9.txt'),
    os.fsdecode(b'\xff\xfe/\x80.bin'),
]


def _relay(world: World, notes: dict[str, bytes]) -> None:
    """Let the notes go from a by the server to b, and edited there back again."""
    for name, body in notes.items():
        world.write('a', name, body)
    world.server('s')
    world.sync('a')
    world.sync('b')
    assert world.tree('b') == notes
    assert world.same('s', 'a', 'b') == notes
    changed = {
        name: body[: len(body) // 2] + b'+' + body[len(body) // 2 :] for name, body in notes.items()
    }
    for name, body in changed.items():
        world.write('b', name, body)
    world.sync('b')
    world.sync('a')
    assert world.tree('a') == changed
    assert world.same('s', 'a', 'b') == changed
    for name in 'ab':
        assert world.sync(name).moved == {}


def test_every_kind_of_body_arrives_as_it_is(world: World) -> None:
    _relay(world, {f'{title}.txt': body for title, body in BODIES.items()})


def test_every_kind_of_name_arrives_as_it_is(world: World) -> None:
    _relay(world, {name: f'{number}\n'.encode() for number, name in enumerate(NAMES)})


def test_names_given_later_arrive_as_they_are(world: World) -> None:
    """Renaming goes the same ways as making."""
    for number in range(len(NAMES)):
        world.write('a', f'{number:03}', f'{number}\n')
    world.server('s')
    world.sync('a')
    world.sync('b')
    for number, name in enumerate(NAMES):
        target = world.path('b') / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (world.path('b') / f'{number:03}').rename(target)
    assert world.sync('b').stats['peerMod'] == len(NAMES)
    world.sync('a')
    wanted = {name: f'{number}\n'.encode() for number, name in enumerate(NAMES)}
    assert world.same('a', 's', 'b') == wanted


def test_kinds_of_bodies_follow_each_other_in_one_note(world: World) -> None:
    """What a note was does not show in what it becomes."""
    world.server('s')
    world.write('a', 'n', b'')
    world.sync('a')
    world.sync('b')
    turns = ['every byte', 'empty', 'lone CR', 'XML', 'plain']
    for turn, title in enumerate(turns):
        writer, reader = ('a', 'b') if turn % 2 else ('b', 'a')
        world.write(writer, 'n', BODIES[title])
        world.sync(writer)
        world.sync(reader)
        assert world.same('a', 'b', 's') == {'n': BODIES[title]}


def test_merging_keeps_line_ends(world: World) -> None:
    """Two edits of one text meet; neither its CRs nor the missing last newline change."""
    world.server('s')
    world.write('a', 'n', b'1\r\n2\r3\n4\r\n5\r6\xff\n7')
    world.sync('a')
    world.sync('b')
    world.write('a', 'n', b'one\r\n2\r3\n4\r\n5\r6\xff\n7')
    world.write('b', 'n', b'1\r\n2\r3\n4\r\n5\r6\xff\n7\r\n8')
    world.sync('a')
    world.sync('b')
    world.sync('a')
    assert world.same('a', 'b', 's') == {'n': b'one\r\n2\r3\n4\r\n5\r6\xff\n7\r\n8'}


# --- fields that sync-notes does not show -------------------------------------------------------

FIELDS = {'Categories': ['work, urgent'], 'Color': ['3'], 'Date': ['20260102T030405Z']}


def _fields(device: Raw, name: str) -> dict[str, list[str]]:
    found = dict(device.shelf.by_name()[name].extensions)
    found.pop('Modified', None)
    return found


def test_other_fields_of_a_note_survive(world: World) -> None:
    """Another program's fields come through the server, also after the note was edited there."""
    server = world.server('s')
    one, two = Raw('one', server.url), Raw('two', server.url)
    one.shelf.add('n.txt', b'body\n', Categories='work, urgent', Color='3', Date=FIELDS['Date'][0])
    one.run()
    assert world.tree('s') == {'n.txt': b'body\n'}
    two.run()
    assert _fields(two, 'n.txt') == FIELDS
    world.write('s', 'n.txt', 'edited in the directory\n')
    two.run()
    one.run()
    for device in (one, two):
        assert device.shelf.by_name()['n.txt'].body == b'edited in the directory\n'
        assert _fields(device, 'n.txt') == FIELDS


def test_other_fields_survive_a_client_and_its_edits(world: World) -> None:
    """sync-notes as a client hands on what it does not show, after edits and renames too."""
    server = world.server('s')
    one, two = Raw('one', server.url), Raw('two', server.url)
    one.shelf.add('n.txt', b'body\n', Categories='a & <b>\r\n\x01é', Color='3')
    one.run()
    world.sync('c')
    world.write('c', 'n.txt', 'edited on the client\n')
    world.sync('c')
    (world.path('c') / 'n.txt').rename(world.path('c') / 'm.txt')
    world.sync('c')
    one.run()
    two.run()
    for device in (one, two):
        assert device.shelf.by_name()['m.txt'].body == b'edited on the client\n'
        assert _fields(device, 'm.txt') == {'Categories': ['a & <b>\r\n\x01é'], 'Color': ['3']}


def test_a_changed_field_alone_travels(world: World) -> None:
    """A new category is a change like any other; nothing else of the note is touched."""
    server = world.server('s')
    one, two = Raw('one', server.url), Raw('two', server.url)
    item = one.shelf.add('n.txt', b'body\n', Categories='work')
    one.run()
    two.run()
    note = one.shelf.getItem(item)
    note.extensions = {'Categories': ['play', 'garden']}
    one.shelf.change(item, extensions=note.extensions)
    one.run()
    two.run()
    assert _fields(two, 'n.txt') == {'Categories': ['play', 'garden']}
    assert world.tree('s') == {'n.txt': b'body\n'}


def test_a_device_without_the_fields_does_not_take_them_away(world: World) -> None:
    """A merge of two bodies keeps the fields of the note."""
    server = world.server('s')
    one = Raw('one', server.url)
    one.shelf.add('n.txt', b'1\n2\n3\n4\n5\n', Color='3')
    one.run()
    world.sync('c')
    world.write('s', 'n.txt', b'one\n2\n3\n4\n5\n')
    world.write('c', 'n.txt', b'1\n2\n3\n4\nfive\n')
    world.sync('c')
    one.run()
    assert one.shelf.by_name()['n.txt'].body == b'one\n2\n3\n4\nfive\n'
    assert _fields(one, 'n.txt') == {'Color': ['3']}
