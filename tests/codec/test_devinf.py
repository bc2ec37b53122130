"""Device information in every form it is sent in."""

from __future__ import annotations

import re

import pytest

from pysyncml.protocol.devinf import (
    Capability,
    ContentTypeInfo,
    DataStoreInfo,
    DeviceInfo,
    DevInf,
    FilterCapability,
    Property,
)
from pysyncml.protocol.messages import Item, Put
from tests.codec.support import again, read, written


def parse(inside: str) -> DevInf:
    (put,) = read(f'<Put><Item><Data><DevInf>{inside}</DevInf></Data></Item></Put>').commands
    return put.items[0].data


def round_trip(devinf: DevInf, version: str = '1.2') -> DevInf:
    (put,) = again(Put(items=(Item(data=devinf),)), version=version)
    return put.items[0].data


def store(inside: str) -> DataStoreInfo:
    return parse(f'<DataStore><SourceRef>n</SourceRef>{inside}</DataStore>').stores[0]


PHONE = Property(
    name='TEL',
    data_type='chr',
    max_occur=3,
    max_size=40,
    no_truncate=True,
    values=('a', 'b'),
    display_name='Telephone',
    params=(
        Property(name='TYPE', data_type='chr', values=('HOME', 'WORK'), display_name='Kind'),
        Property(name='PREF'),
    ),
)
FULL = DevInf(
    version='1.2',
    device=DeviceInfo(
        devID='dev-1',
        devType='server',
        manufacturerName='Me <&>',
        modelName='It',
        oem='O',
        hardwareVersion='1',
        firmwareVersion='2',
        softwareVersion='3',
    ),
    stores=(
        DataStoreInfo(
            uri='./card',
            display_name='Cards',
            max_guid_size=64,
            content_types=(
                ContentTypeInfo('text/vcard', ['3.0'], preferred=True),
                ContentTypeInfo('text/x-vcard', ['2.0', '2.1']),
                ContentTypeInfo('text/plain', '', transmit=False),
            ),
            capabilities=(
                Capability(
                    ctype='text/vcard', version='3.0', field_level=True, properties=(PHONE,)
                ),
            ),
            shared_mem=True,
            max_mem=1000,
            max_id=10,
            hierarchical_sync=True,
            sync_types=(1, 2, 7),
            filter_types=(('syncml:filtertype-cgi', '1.0'),),
            filters=(
                FilterCapability(
                    ctype='text/vcard', version='3.0', keywords=('SINCE',), properties=('N', 'TEL')
                ),
            ),
        ),
        DataStoreInfo(uri='./note', hierarchical_sync=False),
    ),
    extensions=(('X-a', ('1', '2')), ('X-b', ())),
)


def test_everything_comes_back():
    assert round_trip(FULL) == FULL


def test_the_order_of_the_grammar():
    text = written(Put(items=(Item(data=FULL),)))
    words = """
        VerDTD Man Mod OEM FwV SwV HwV DevID DevTyp UTC SupportLargeObjs SupportNumberOfChanges
        DataStore SourceRef DisplayName MaxGUIDSize Rx-Pref Rx Tx-Pref Tx CTCap VerCT FieldLevel
        Property PropName DataType MaxOccur MaxSize NoTruncate ValEnum DisplayName PropParam
        ParamName DataType ValEnum DisplayName DSMem SharedMem MaxMem MaxID
        SupportHierarchicalSync SyncCap SyncType Filter-Rx FilterCap CTType VerCT FilterKeyword
        PropName Ext XNam XVal
    """
    place = text.index('<DevInf xmlns="syncml:devinf">')
    for word in words.split():
        found = re.search(f'<{word}/?>', text[place:])
        assert found, word
        place += found.end()


@pytest.mark.parametrize('version', ['1.0', '1.1'])
def test_nothing_newer_than_the_version(version):
    text = written(Put(items=(Item(data=DevInf(version=version, stores=FULL.stores)),)))
    for word in ('Property>', 'MaxSize', 'Filter', 'Hierarchical', 'MaxOccur', 'NoTruncate'):
        assert word not in text
    assert ('<UTC/>' in text) is (version == '1.1')
    end = text.index('</DataStore>', text.index('./note'))
    assert text.index('<CTCap>') > end, 'the capabilities stand after the datastores'
    assert (
        '<PropName>TEL</PropName><ValEnum>a</ValEnum><ValEnum>b</ValEnum>'
        '<DisplayName>Telephone</DisplayName><ParamName>TYPE</ParamName>'
    ) in text


def test_flat_capabilities():
    flat = (
        '<CTCap><CTType>text/x-vcard</CTType>'
        '<PropName>BEGIN</PropName><ValEnum>VCARD</ValEnum>'
        '<PropName>VERSION</PropName><ValEnum>2.1</ValEnum>'
        '<PropName>TEL</PropName><DataType>chr</DataType><Size>40</Size>'
        '<DisplayName>Phone</DisplayName>'
        '<ParamName>TYPE</ParamName><ValEnum>HOME</ValEnum><ValEnum>WORK</ValEnum>'
        '<ParamName>X</ParamName><DisplayName>Y</DisplayName>'
        '<CTType>text/calendar</CTType><PropName>UID</PropName></CTCap>'
    )
    stores = (
        '<DataStore><SourceRef>c</SourceRef><Rx-Pref><CTType>TEXT/x-vcard</CTType></Rx-Pref>'
        '</DataStore><DataStore><SourceRef>n</SourceRef><Tx-Pref><CTType>text/plain</CTType>'
        '</Tx-Pref></DataStore>'
    )
    devinf = parse(f'<VerDTD>1.1</VerDTD>{stores}{flat}')
    cards, notes = devinf.stores
    assert notes.capabilities == ()
    assert cards.capabilities == (
        Capability(
            ctype='text/x-vcard',
            version='2.1',
            properties=(
                Property(name='BEGIN', values=('VCARD',)),
                Property(name='VERSION', values=('2.1',)),
                Property(
                    name='TEL',
                    data_type='chr',
                    max_size=40,
                    display_name='Phone',
                    params=(
                        Property(name='TYPE', values=('HOME', 'WORK')),
                        Property(name='X', display_name='Y'),
                    ),
                ),
            ),
        ),
    )
    assert round_trip(devinf, '1.1') == devinf


@pytest.mark.parametrize(
    'inside',
    [
        '<PropParam><ParamName>TYPE</ParamName><ValEnum>HOME</ValEnum></PropParam><MaxSize>5</MaxSize>',
        '<MaxSize>5</MaxSize><ParamName>TYPE</ParamName><ValEnum>HOME</ValEnum>',
    ],
)
def test_parameters_with_and_without_their_element(inside):
    caps = (
        f'<CTCap><CTType>t</CTType><VerCT>1</VerCT><Property><PropName>TEL</PropName>{inside}'
        '</Property></CTCap>'
    )
    tel = Property(name='TEL', max_size=5, params=(Property(name='TYPE', values=('HOME',)),))
    assert store(caps).capabilities == (Capability(ctype='t', version='1', properties=(tel,)),)
    nokia = parse(
        f'<DataStore><SourceRef>n</SourceRef><Rx><CTType>t</CTType></Rx></DataStore>{caps}'
    )
    assert nokia.stores[0].capabilities[0].properties == (tel,)


def test_capabilities_that_say_nothing():
    assert store('<CTCap/>').capabilities == ()
    assert store('<CTCap><PropName>A</PropName></CTCap>').capabilities == ()
    (cap,) = store(
        '<CTCap><CTType>t</CTType><ValEnum>lost</ValEnum><Property/><Property><PropName/>'
        '<MaxSize>0</MaxSize><Odd/></Property></CTCap>'
    ).capabilities
    assert cap == Capability(ctype='t', properties=(Property(name=''),))


@pytest.mark.parametrize(
    ('inside', 'expected'),
    [
        ('', ()),
        (
            '<Rx-Pref><CTType>a</CTType><VerCT>1</VerCT></Rx-Pref>'
            '<Tx-Pref><CTType>a</CTType><VerCT>1</VerCT></Tx-Pref>',
            (ContentTypeInfo('a', '1', True),),
        ),
        (
            '<Rx-Pref><CTType>a </CTType><VerCT>2</VerCT></Rx-Pref><Rx><CTType>a</CTType>'
            '<VerCT>2</VerCT></Rx><Rx><CTType>a</CTType><VerCT>1</VerCT></Rx>',
            (ContentTypeInfo('a', ['1', '2'], True, transmit=False),),
        ),
        (
            '<Rx-Pref><CTType>a</CTType></Rx-Pref><Tx-Pref><CTType>b</CTType></Tx-Pref>'
            '<Rx><CTType>b</CTType></Rx>',
            (
                ContentTypeInfo('a', '', True, transmit=False),
                ContentTypeInfo('b', '', True, receive=False),
                ContentTypeInfo('b', '', False, transmit=False),
            ),
        ),
        (
            '<Rx><CTType>a</CTType></Rx><Tx><CTType>a</CTType></Tx>',
            (ContentTypeInfo('a', ''),),
        ),
    ],
)
def test_content_types(inside, expected):
    assert store(inside).content_types == expected


def test_the_best_version_is_the_preferred_one():
    info = ContentTypeInfo('text/plain', ['1.0', '1.1'], preferred=True)
    devinf = DevInf(stores=(DataStoreInfo(uri='n', content_types=(info,)),))
    text = written(Put(items=(Item(data=devinf),)))
    for way in ('Rx', 'Tx'):
        assert f'<{way}-Pref><CTType>text/plain</CTType><VerCT>1.1</VerCT></{way}-Pref>' in text
        assert f'<{way}><CTType>text/plain</CTType><VerCT>1.0</VerCT></{way}>' in text
    assert round_trip(devinf).stores == devinf.stores


def test_there_is_always_a_preferred_type():
    info = ContentTypeInfo('text/plain', ['1.0'])
    devinf = DevInf(stores=(DataStoreInfo(uri='n', content_types=(info,)),))
    text = written(Put(items=(Item(data=devinf),)))
    assert '<Rx-Pref>' in text and '<Tx-Pref>' in text and '<Rx>' not in text


def test_what_is_missing():
    devinf = parse('<DataStore/>')
    assert devinf.version == '1.2'
    assert devinf.device.manufacturerName == '-'
    assert devinf.device.devID is None
    assert not devinf.device.utc
    assert devinf.stores == (DataStoreInfo(uri='', sync_types=(1, 2)),)


def test_odd_values():
    found = store(
        '<MaxGUIDSize>big</MaxGUIDSize><MaxObjSize>100</MaxObjSize><SyncCap><SyncType>01</SyncType>'
        '<SyncType>x</SyncType><SyncType>390001</SyncType></SyncCap>'
    )
    assert (found.max_guid_size, found.max_obj_size) == (None, 100)
    assert found.sync_types == (1, 390001)
    devinf = parse('<Man/><Mod> My\nphone </Mod><DevTyp>Server</DevTyp>')
    assert (devinf.device.manufacturerName, devinf.device.modelName) == ('-', 'My\nphone')


def test_private_elements_are_not_written():
    devinf = DevInf(stores=(DataStoreInfo(uri='n', max_obj_size=5),))
    assert 'MaxObjSize' not in written(Put(items=(Item(data=devinf),)))


def test_nothing_is_empty_that_servers_want():
    devinf = DevInf(device=DeviceInfo(devID='d', manufacturerName='', oem=None))
    text = written(Put(items=(Item(data=devinf),)))
    assert '<Man>-</Man>' in text and '<OEM' not in text


def test_the_version_after_the_manufacturer():
    devinf = parse('<Man>C</Man><VerDTD>1.1</VerDTD><Mod>S</Mod><DevId>x</DevId>')
    assert (devinf.version, devinf.device.devID) == ('1.1', 'x')
    assert devinf.device.manufacturerName == 'C'


def test_a_flat_capability_names_a_property():
    info = ContentTypeInfo('text/plain', '1.0')
    plain = DataStoreInfo(
        uri='n', content_types=(info,), capabilities=(Capability(ctype='text/plain'),)
    )
    text = written(Put(items=(Item(data=DevInf(version='1.1', stores=(plain,))),)))
    assert '<CTCap' not in text
