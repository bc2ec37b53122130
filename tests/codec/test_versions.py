"""SyncML 1.0 and 1.1, in both encodings: what they write differently, and what they have not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pysyncml.codec import decode, encode
from pysyncml.errors import LocalProtocolError
from pysyncml.protocol.devinf import (
    Capability,
    ContentTypeInfo,
    DataStoreInfo,
    DeviceInfo,
    DevInf,
    Property,
)
from pysyncml.protocol.messages import Add, Filter, Item, Location, Meta, Move, Put, Sync
from tests.codec import strategies
from tests.codec.support import message
from tests.codec.test_devinf import FULL
from tests.codec.test_writing import EVERY

ENCODINGS = pytest.mark.parametrize('encoding', ['xml', 'wbxml'])
OLD = pytest.mark.parametrize('version', ['1.0', '1.1'])


def again(*commands, version, encoding):
    return decode(*encode(message(*commands, version=version), encoding)).commands


def device(devinf: DevInf, version: str, encoding: str) -> DevInf:
    (put,) = again(Put(items=(Item(data=devinf),)), version=version, encoding=encoding)
    return put.items[0].data


# What a phone of 1.1 can say of itself.
PHONE = DevInf(
    version='1.1',
    device=DeviceInfo(
        devID='IMEI:1',
        devType='phone',
        manufacturerName='M',
        modelName='T',
        oem='O',
        hardwareVersion='1',
        firmwareVersion='2',
        softwareVersion='3',
        hierarchicalSync=False,
    ),
    stores=(
        DataStoreInfo(
            uri='./Contacts',
            display_name='Contacts',
            max_guid_size=8,
            content_types=(ContentTypeInfo('text/x-vcard', ['2.1'], preferred=True),),
            capabilities=(
                Capability(
                    ctype='text/x-vcard',
                    version='2.1',
                    properties=(
                        Property(name='BEGIN', values=('VCARD',)),
                        Property(name='VERSION', values=('2.1',)),
                        Property(
                            name='TEL',
                            data_type='phonenum',
                            max_size=30,
                            display_name='Telephone',
                            params=(
                                Property(name='TYPE', values=('HOME', 'WORK')),
                                Property(name='X-N', data_type='int', max_size=2),
                            ),
                        ),
                        Property(name='NOTE'),
                    ),
                ),
            ),
            shared_mem=True,
            max_mem=100,
            max_id=10,
            sync_types=(1, 2, 3, 7),
        ),
        DataStoreInfo(
            uri='./Notes',
            content_types=(ContentTypeInfo('text/plain', '1.0', preferred=True),),
            sync_types=(1, 2),
        ),
    ),
    extensions=(('X-a', ('1',)),),
)


@ENCODINGS
def test_everything_that_1_1_has(encoding):
    assert device(PHONE, '1.1', encoding) == PHONE


@ENCODINGS
def test_everything_that_1_0_has(encoding):
    """UTC, SupportLargeObjs and SupportNumberOfChanges came with 1.1."""
    old = replace(PHONE, version='1.0')
    values = PHONE.device.values() | {'utc': False, 'largeObjects': False, 'numberOfChanges': False}
    assert device(old, '1.0', encoding) == replace(old, device=DeviceInfo(**values))


@OLD
def test_the_names_of_old_device_information(version):
    put = Put(items=(Item(data=replace(PHONE, version=version)),))
    text = encode(message(put, version=version))[1].decode()
    assert f'<SyncML xmlns="SYNCML:SYNCML{version}">' in text
    assert f'<DevInf xmlns="syncml:devinf"><VerDTD>{version}</VerDTD>' in text
    assert '<Size>30</Size>' in text and 'MaxSize' not in text
    assert text.index('</DataStore><CTCap>') > text.index('./Notes')
    binary = encode(message(put, version=version), 'wbxml')[1]
    assert b'\x5c\x0330\x00\x01' in binary
    assert (b'\x28\x2a\x29' in binary) is (version == '1.1')


@ENCODINGS
@OLD
def test_the_newer_parts_of_device_information(version, encoding):
    found = device(replace(FULL, version=version), version, encoding)
    assert found.version == version
    (cards, notes) = found.stores
    assert (cards.hierarchical_sync, cards.filters, cards.filter_types) == (False, (), ())
    (capability,) = cards.capabilities
    assert not capability.field_level
    (telephone,) = capability.properties
    assert (telephone.max_occur, telephone.no_truncate) == (None, False)
    assert telephone.values == ('a', 'b') and telephone.data_type is None, 'one or the other'
    assert [each.name for each in telephone.params] == ['TYPE', 'PREF']
    assert notes.capabilities == ()


@ENCODINGS
def test_device_information_of_another_version_than_the_message(encoding):
    assert device(PHONE, '1.2', encoding) == PHONE
    assert device(FULL, '1.1', encoding) == FULL


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(devinf=strategies.devices, version=st.sampled_from(['1.0', '1.1']))
@ENCODINGS
def test_what_is_left_of_newer_device_information_stays(encoding, devinf, version):
    once = device(replace(devinf, version=version), version, encoding)
    assert device(once, version, encoding) == once


@ENCODINGS
@pytest.mark.parametrize('version', ['1.0', '1.1', '1.2'])
@pytest.mark.parametrize('command', EVERY, ids=lambda command: command.name)
def test_every_command(command, version, encoding):
    fitting = strategies.fitting(command, version)
    if fitting is None:
        assert isinstance(command, Move) and version < '1.2'
        return
    found = again(fitting, version=version, encoding=encoding)
    assert found == (strategies.without_newer(fitting, version),)


@ENCODINGS
@pytest.mark.parametrize(
    ('command', 'version'),
    [
        (Move(items=(Item(),)), '1.1'),
        (Sync(commands=(Move(),)), '1.1'),
        (Add(items=(Item(more_data=True),)), '1.0'),
        (Sync(target=Location('a', filter=Filter())), '1.1'),
    ],
)
def test_what_cannot_be_left_out(command, version, encoding):
    with pytest.raises(LocalProtocolError, match=version):
        encode(message(command, version=version), encoding)


@ENCODINGS
def test_large_objects_came_with_1_1(encoding):
    add = Add(items=(Item(meta=Meta(type='t', size=9), data=b'x', more_data=True),))
    assert again(add, version='1.1', encoding=encoding) == (add,)
