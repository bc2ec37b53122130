"""The table of known peers: who is recognised by what, and what each habit means."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from pysyncml.protocol.devinf import DeviceInfo
from pysyncml.protocol.quirks import KNOWN_PEERS, KnownPeer, Quirks, known_peer, quirks_of


def name_of(man='-', mod='-', software='-', dev_id='x'):
    device = DeviceInfo(manufacturerName=man, modelName=mod, softwareVersion=software)
    row = known_peer(device, dev_id)
    return row.name if row else None


RECOGNISED = [
    (('pysyncml', 'pysyncml.cli.notes', '0.2.0'), 'pysyncml 0.2 and earlier'),
    (('pysyncml', 'sync-notes', '1.0.0.dev0'), 'pysyncml'),
    (('pysyncml', 'pysyncml.cli.notes', '1.0.0'), 'pysyncml'),
    (('me', 'demo of syncml-js', '0.0.18'), 'syncml-js'),
    (('Patrick Ohly', 'SyncEvolution', '3.4.0.47'), 'SyncEvolution'),
    (('Funambol', 'DS Server CED', '8.0'), 'Funambol server'),
    (('Funambol', 'Funambol Outlook Sync Client', '7', 'fol-1'), 'Funambol clients'),
    (('NOKIA', 'N97', '-', 'IMEI:1'), 'Nokia, Series 60'),
    (('Nokia', '5610', '-', 'IMEI:1'), 'Nokia, Series 40'),
    (('SonyEricsson', 'K750i'), 'Sony Ericsson'),
    (('Sony Ericsson', 'P800'), 'Sony Ericsson P800'),
    (('SIEMENS', 'S55'), 'Siemens'),
    (('Motorola CE, Copyright 2004', 'V3'), 'Motorola'),
    (('The Horde Project (http://www.horde.org)', '-'), 'Horde'),
    (('-', '-', '-', 'https://sync.memotoo.com/syncml'), 'Memotoo'),
    (('-', '-', '-', 'http://sync.zyb.com/'), 'ZYB'),
    (('-', '-', '-', 'funambol'), None),
    (('Tactel AB', 'Mobical Sync Server'), 'Mobical'),
    (('-', '-', '-', 'http://notmemotoo.com/'), None),
    (('-', '-', '-', 'funambolic'), None),
    (('Somebody', 'Nokia', '0.1', 'x'), None),
    ((None, None, None), None),
]


@pytest.mark.parametrize(('said', 'name'), RECOGNISED)
def test_who_is_recognised(said, name):
    assert name_of(*said) == name


def test_every_row_is_reached_by_somebody():
    assert {name for _, name in RECOGNISED} - {None} == {row.name for row in KNOWN_PEERS}


def test_before_the_introduction_only_the_id_counts():
    assert quirks_of(None, 'http://sync.memotoo.com/').encoding == 'xml'
    assert known_peer(None, 'fol-1').name == 'Funambol clients'
    assert quirks_of(None, 'pysyncml') == Quirks()
    assert known_peer(None, '') is None


def test_unknown_peers_are_well_behaved():
    quirks = quirks_of(DeviceInfo(manufacturerName='x', modelName='y'), 'z')
    assert quirks == Quirks()
    for command in ('Alert', 'Add', 'Replace', 'Delete', 'Map'):
        for code in (200, 201, 207, 213, 404, 508):
            assert quirks.status(command, code) == code
    assert quirks.as_utf8(b'\xe9', 'text/plain') == b'\xe9'


def test_what_the_predecessor_is_answered():
    quirks = quirks_of(DeviceInfo(manufacturerName='pysyncml', softwareVersion='0.2.0'), 'x')
    accepted = {
        'Alert': {200},
        'Add': {200, 201, 418},
        'Replace': {200, 207, 208, 409, 419},
        'Delete': {200, 207, 208, 211, 409, 419},
    }
    for command, codes in accepted.items():
        for code in codes:
            assert quirks.status(command, code) == code
    for command, code in [('Alert', 508), ('Add', 207), ('Add', 208), ('Add', 209)]:
        assert quirks.status(command, code) == 200
    assert quirks.status('Replace', 201) == 200
    assert quirks.status('Replace', 209) == 419
    for command, code in quirks.statuses:
        assert code not in accepted[command]
        assert quirks.status(command, code) in accepted[command]
    # what failed is said to have failed, whatever comes of it
    assert quirks.status('Add', 500) == 500


def test_few_statuses_are_those_that_say_what_went_wrong():
    quirks = Quirks(few_statuses=True)
    assert [quirks.status('Add', code) for code in (200, 201, 213, 418, 500)] == [
        None,
        None,
        213,
        418,
        500,
    ]
    assert [quirks.status(name, 200) for name in ('Sync', 'Alert', 'Map', 'Put')] == [200] * 4


def test_texts_in_another_charset():
    quirks = Quirks(charset='windows-1252')
    assert quirks.as_utf8(b'caf\xe9 \x80', 'Text/plain') == 'café €'.encode()
    assert quirks.as_utf8('café'.encode(), 'text/plain') == 'café'.encode()
    assert quirks.as_utf8(b'\xff\xd8\xff', 'image/jpeg') == b'\xff\xd8\xff'
    assert quirks.as_utf8(b'\x81', 'text/plain') == '\ufffd'.encode()


@pytest.mark.parametrize('row', KNOWN_PEERS, ids=lambda row: row.name)
def test_every_row_says_why_and_by_what(row):
    assert row.reason.endswith('.')
    patterns = [row.manufacturer, row.model, row.software, row.dev_id]
    assert any(patterns)
    for pattern in patterns:
        re.compile(pattern)
    assert row.quirks.charset is None or 'ä'.encode(row.quirks.charset)


def test_every_habit_is_described():
    for which in fields(Quirks):
        assert f'        {which.name}: ' in Quirks.__doc__


def test_names_are_given_once():
    assert len({row.name for row in KNOWN_PEERS}) == len(KNOWN_PEERS)


def test_every_pattern_of_a_row_must_match():
    row = KnownPeer(name='x', reason='.', manufacturer='a', model='b', dev_id='c')
    device = DeviceInfo(manufacturerName='A1', modelName='B1')
    assert row.matches(device, 'C1')
    assert not row.matches(device, 'x')
    assert not row.matches(DeviceInfo(manufacturerName='A1', modelName='x'), 'C1')
    assert not row.matches(None, 'C1')
