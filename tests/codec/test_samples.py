"""Recorded messages of real peers: read, written, read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from pysyncml.codec import decode, encode
from pysyncml.protocol.devinf import ContentTypeInfo, DevInf
from pysyncml.protocol.messages import Add, Alert, Anchor, Map, MapItem, Put, Replace, Status, Sync
from tests.codec.support import TYPE

FOLDER = Path(__file__).parent / 'samples'
SAMPLES = sorted(FOLDER.glob('*.xml'))


def sample(name: str):
    return decode(TYPE, (FOLDER / f'{name}.xml').read_bytes())


@pytest.mark.parametrize('path', SAMPLES, ids=lambda path: path.stem)
def test_a_recorded_message_survives(path):
    message = decode(TYPE, path.read_bytes())
    content_type, data = encode(message)
    assert decode(content_type, data) == message
    assert encode(decode(content_type, data)) == (content_type, data)


def test_samples_are_there():
    assert len(SAMPLES) >= 12


def test_setup():
    message = sample('setup-1.2-request')
    header = message.header
    assert (header.version, header.session_id, header.msg_id) == ('1.2', '5', '1')
    assert (header.source.uri, header.source.name) == ('sc-pim-ver1.2-xml', 'syncuser')
    assert (header.cred.type, header.cred.format) == ('syncml:auth-md5', 'b64')
    assert (header.max_msg_size, header.max_obj_size) == (150000, 4000000)
    assert message.final
    put, _, alert = message.commands
    assert isinstance(put, Put) and isinstance(put.items[0].data, DevInf)
    assert isinstance(alert, Alert) and alert.code == 201
    assert alert.items[0].meta.anchor == Anchor('20261122T021410Z')


@pytest.mark.parametrize(('version', 'utc'), [('1.0', False), ('1.2', True)])
def test_device_information(version, utc):
    devinf = sample(f'setup-{version}-request').commands[0].items[0].data
    assert devinf.version == version
    assert devinf.device.manufacturerName == 'Patrick Ohly'
    assert devinf.device.devType == 'workstation'
    assert devinf.device.utc is utc
    (store,) = devinf.stores
    assert (store.uri, store.display_name, store.max_guid_size) == ('./notes', 'notes', 64)
    assert store.content_types == (ContentTypeInfo('text/plain', ['1.1', '1.0'], True),)
    assert store.sync_types == (1, 2, 3, 4, 5, 6, 7, 390001)


def test_sync():
    message = sample('sync-1.2-request')
    assert [type(c) for c in message.commands] == [Status, Status, Status, Sync]
    assert message.commands[2].items[0].data == Anchor('20261122T021410Z')
    add = message.commands[3].commands[0]
    assert isinstance(add, Add)
    assert add.items[0].source_uri == 'cli-0.txt'
    assert add.items[0].meta.type == 'text/plain'  # said by the command
    assert add.items[0].data == b'cli note 0\nbody of cli 0\nlast line\n\n'
    assert [type(c).__name__ for c in message.walk()][-3:] == ['Sync', 'Add', 'Add']


def test_map():
    (found,) = (c for c in sample('map-1.2-request').commands if isinstance(c, Map))
    assert found.target.uri == 'notes'
    assert found.items == (MapItem('srv-0.txt', '1'),)


def test_challenge():
    chal = sample('challenge-1.2-response').commands[0].chal
    assert chal.type == 'syncml:auth-md5'
    assert chal.format == 'b64'
    assert chal.next_nonce


def test_bytes_that_are_no_xml_arrive_as_they_were_sent():
    adds = [c for c in sample('odd-bytes-request').walk() if isinstance(c, Add)]
    data = {add.items[0].source_uri: add.items[0].data for add in adds}
    assert data['latin1.txt'] == b'latin1 \xe4\xf6\xfc\nbody\n\n'
    assert data['ctl.txt'] == b'ctl\nbell \x07 esc \x1b tab\t end\n\n'
    assert '日本語 🎉'.encode() in data['utf8.txt']
    assert b']]> &amp;' in data['utf8.txt']
    assert 'with space & ü.txt' in data


def test_chunk():
    items = [
        i for c in sample('chunks-1.2-request').walk() if isinstance(c, Replace) for i in c.items
    ]
    assert any(item.more_data for item in items)
