"""Messages that two other programs exchanged: read, written, read again, in both encodings.

The tests marked ``interop`` also ask libwbxml what it reads: ``wbxml2xml`` must be installed
(Debian: libwbxml2-utils).
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from dataclasses import replace
from functools import cache
from itertools import zip_longest
from pathlib import Path

import pytest

from pysyncml.codec import decode, embedded, encode, wbxml, xml
from pysyncml.codec.node import Node
from pysyncml.errors import LocalProtocolError
from pysyncml.protocol.devinf import DevInf
from pysyncml.protocol.messages import Item, Message, Put
from tests.codec.support import message
from tests.codec.test_devinf import FULL
from tests.codec.test_writing import EVERY

ARCHIVE = Path(__file__).parent / 'traces' / 'syncevolution.tar.xz'
TYPE = {'xml': xml.CONTENT_TYPE, 'wbxml': wbxml.CONTENT_TYPE}


@cache
def files() -> dict[str, bytes]:
    """Return every recorded file by its name."""
    with tarfile.open(ARCHIVE) as archive:
        return {
            member.name: content.read()
            for member in archive
            if (content := archive.extractfile(member)) is not None
        }


def sessions() -> list[str]:
    return sorted({name.partition('/')[0] for name in files()})


def recorded(session: str, *encodings: str) -> list[tuple[str, str, bytes]]:
    """Return name, encoding and bytes of the messages of *session*."""
    found = [
        (name, name.rpartition('.')[2], data)
        for name, data in files().items()
        if name.startswith(f'{session}/') and '.decoded.' not in name
    ]
    return [each for each in found if each[1] in (encodings or TYPE)]


def test_traces_are_there():
    assert len(sessions()) >= 80
    counts = [len(recorded(session, 'xml')) for session in sessions()]
    assert sum(counts) >= 470
    counts = [len(recorded(session, 'wbxml')) for session in sessions()]
    assert sum(counts) >= 250


@pytest.mark.parametrize('session', sessions())
def test_messages_survive_in_both_encodings(session):
    for name, encoding, data in recorded(session):
        message = decode(TYPE[encoding], data)
        assert decode(*encode(message, encoding)) == message, name
        other = 'xml' if encoding == 'wbxml' else 'wbxml'
        through = decode(*encode(message, other))
        assert decode(*encode(through, other)) == through, name
        assert decode(*encode(through, encoding)) == message, name
        assert len(list(through.walk())) == len(list(message.walk()))


def test_device_information_was_recorded():
    versions = set()
    for session in sessions():
        for _, encoding, data in recorded(session):
            for command in decode(TYPE[encoding], data).walk():
                for item in getattr(command, 'items', ()):
                    if isinstance(getattr(item, 'data', None), DevInf):
                        versions.add((encoding, item.data.version))
                        assert item.data.stores and item.data.device.devID
    assert versions == {(e, v) for e in ('xml', 'wbxml') for v in ('1.0', '1.1', '1.2')}


# --- what another decoder reads -----------------------------------------------------------------


def outline(node: Node, path: str = '') -> list[tuple[str, bytes]]:
    """Return the elements of a tree with their values, as far as both decoders can agree.

    XML has no CR; libwbxml always shows device information as elements, of type ``+xml``.
    """
    path = f'{path}/{node.name}'
    children, text = node.children, node.text or b''
    if isinstance(text, bytes) and node.name == 'Data':
        root = embedded.read(text)
        if root is not None and root.name == 'DevInf':
            children = [root]
    if children:
        return [(path, b'')] + [each for child in children for each in outline(child, path)]
    text = text.encode() if isinstance(text, str) else text
    text = text.replace(b'\r\n', b'\n').replace(b'\r', b'\n')
    return [(path, text.replace(b'devinf+wbxml', b'devinf+xml'))]


def agree(data: bytes, theirs: bytes, name: str) -> None:
    for ours, other in zip_longest(outline(wbxml.read(data)), outline(xml.read(theirs))):
        assert ours == other, name


def without_section_ends(data: bytes) -> bytes:
    """Return *data* without what ends a CDATA section: libwbxml writes such a text wrongly."""
    return data.replace(b']]>', b')))')


@pytest.mark.parametrize('session', [each for each in sessions() if recorded(each, 'wbxml')])
def test_wbxml_is_read_as_libwbxml_read_it(session):
    for name, _, data in recorded(session, 'wbxml'):
        theirs = files()[name.replace('.wbxml', '.decoded.xml')]
        if b']]>' not in data:
            agree(data, theirs, name)


def converted(program: str, *options: str, data: bytes, folder: Path) -> bytes:
    """Return what a program of libwbxml makes of *data*."""
    if shutil.which(program) is None:
        pytest.fail(
            f'The program {program} was not found: on Debian, apt install libwbxml2-utils.',
            pytrace=False,
        )
    source, target = folder / 'source', folder / 'target'
    source.write_bytes(data)
    command = [program, *options, '-o', str(target), str(source)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode(errors='replace')
    return target.read_bytes()


def decoded(data: bytes, folder: Path) -> bytes:
    return converted('wbxml2xml', data=data, folder=folder)


@pytest.mark.interop
@pytest.mark.parametrize('session', [each for each in sessions() if recorded(each, 'wbxml')])
def test_wbxml_is_read_as_libwbxml_reads_it(session, tmp_path):
    for name, _, data in recorded(session, 'wbxml'):
        data = without_section_ends(data)
        agree(data, decoded(data, tmp_path), name)


@pytest.mark.interop
@pytest.mark.parametrize('session', sessions())
def test_libwbxml_reads_what_is_written(session, tmp_path):
    for name, encoding, data in recorded(session):
        message = decode(TYPE[encoding], data)
        written = without_section_ends(encode(message, 'wbxml')[1])
        agree(written, decoded(written, tmp_path), name)


def everything(version: str) -> Message:
    """Return a message with as much of *version* in it as there is."""
    commands = [Put(cmd_id='1', items=(Item(data=replace(FULL, version=version)),))]
    for command in EVERY:
        try:
            encode(message(command, version=version))
        except LocalProtocolError:
            continue
        commands.append(command)
    return message(*commands, version=version)


@pytest.mark.interop
@pytest.mark.parametrize('version', ['1.0', '1.1', '1.2'])
def test_libwbxml_reads_every_element(version, tmp_path):
    written = encode(everything(version), 'wbxml')[1]
    written = written.replace(b'\xc3\x02r\0', b'\xc3\x02r0')  # XML has no NUL
    agree(written, decoded(written, tmp_path), version)


@pytest.mark.interop
@pytest.mark.parametrize('options', [(), ('-n',)], ids=['string table', 'inline strings'])
@pytest.mark.parametrize('wbxml_version', ['1.1', '1.2', '1.3'])
@pytest.mark.parametrize('version', ['1.0', '1.1', '1.2'])
def test_what_libwbxml_writes_is_read(version, wbxml_version, options, tmp_path):
    content_type, data = encode(everything(version), 'xml')
    expected = decode(content_type, data)
    written = converted('xml2wbxml', *options, '-v', wbxml_version, data=data, folder=tmp_path)
    found = encode(decode(TYPE['wbxml'], written), 'xml')[1]
    assert decode(content_type, found.replace(b'&#13;', b'')) == expected
