"""Files and folders as OMA DS data objects."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysyncml.agents import BaseFileAgent, FileItem, FolderItem
from pysyncml.agents.file import format_time, parse_time
from pysyncml.constants import TYPE_OMADS_FILE, TYPE_OMADS_FOLDER
from pysyncml.errors import InvalidContent, InvalidContentType

FILE = (
    b'<File><name>f.txt</name><created>19700101T000000Z</created>'
    b'<modified>19700102T000000Z</modified><cttype>text/plain</cttype>'
    b'<attributes><h>true</h><r>false</r></attributes><body>x&lt;y</body>'
    b'<Ext><XNam>K</XNam><XVal>V1</XVal><XVal>V2</XVal></Ext></File>'
)
FOLDER = (
    b'<Folder><name>d</name><modified>19700101T000000Z</modified><role>inbox</role>'
    b'<attributes><s>true</s></attributes></Folder>'
)


def test_file():
    item = FileItem(
        'f.txt',
        created=0,
        modified=86400,
        contentType='text/plain',
        body=b'x<y',
        hidden=True,
        readable=False,
        extensions={'K': ['V1', 'V2']},
    )
    assert item.size == 3
    assert item.dumps() == FILE
    back = FileItem.loads(FILE, 'application/vnd.omads-file+xml; charset=utf-8', '1.2')
    assert back == item
    assert back.extensions == item.extensions


def test_folder():
    item = FolderItem('d', modified=0, role='inbox', system=True)
    assert item.dumps() == FOLDER
    assert FolderItem.loads(FOLDER) == item
    assert str(item) == 'Folder "d"'


def test_the_written_type_is_told():
    agent = BaseFileAgent()
    assert agent.dumpsItem(FileItem('f'))[:2] == ('application/vnd.omads-file+xml', '1.2')
    written = agent.dumpsItem(FolderItem('d'), TYPE_OMADS_FILE, '1.2')
    assert written[:2] == ('application/vnd.omads-folder+xml', '1.2')
    with pytest.raises(InvalidContentType):
        agent.dumpsItem(FileItem('f'), TYPE_OMADS_FILE, '1.1')
    with pytest.raises(InvalidContentType):
        agent.dumpsItem(FileItem('f'), 'text/plain')
    with pytest.raises(InvalidContentType):
        FileItem('f').dumps(TYPE_OMADS_FOLDER)


@pytest.mark.parametrize(
    ('data', 'contentType', 'kind'),
    [
        (FILE, 'application/vnd.omads-file+xml', FileItem),
        (FILE, TYPE_OMADS_FILE, FileItem),
        (FILE, None, FileItem),
        (FOLDER, TYPE_OMADS_FOLDER, FolderItem),
        (FOLDER, 'application/vnd.omads-folder+xml', FolderItem),
        (FOLDER, None, FolderItem),
    ],
)
def test_agent_reads_both(data, contentType, kind):
    assert type(BaseFileAgent().loadsItem(data, contentType, None)) is kind


def test_agent():
    agent = BaseFileAgent()
    assert agent.hierarchicalSync
    assert [str(each) for each in agent.contentTypes] == [
        'application/vnd.omads-file@1.2:PrefTxRx',
        'application/vnd.omads-folder@1.2:TxRx',
    ]
    item = agent.conflictItem(FileItem('f.txt', id='1'), 'phone')
    assert (item.id, item.name.startswith('f'), 'phone' in item.name) == (None, True, True)
    with pytest.raises(InvalidContentType):
        agent.loadsItem(FILE, 'text/plain')


@pytest.mark.parametrize('data', [FOLDER, b'<x/>', b'no', b''])
def test_what_is_no_file(data):
    with pytest.raises(InvalidContent):
        FileItem.loads(data, TYPE_OMADS_FILE)


def test_both_letters_of_executable_are_read_and_x_is_written():
    for letter in (b'x', b'e', b'E', b'executable'):
        data = b'<File><attributes><%b>1</%b></attributes></File>' % (letter, letter)
        item = FileItem.loads(data)
        assert item.executable is True
        assert b'<attributes><x>true</x></attributes>' in item.dumps()


def test_flags():
    item = FileItem.loads(
        b'<File><attributes><h/><s>1</s><a>0</a><d>FALSE</d><w> true </w><r>no</r></attributes>'
        b'</File>'
    )
    flags = (item.hidden, item.system, item.archived, item.delete, item.writable, item.readable)
    assert flags == (True, True, False, False, True, False)
    assert item.executable is None


def test_names_of_elements_count_in_any_case():
    item = FileItem.loads(b'<FILE><Name>n</Name><Body>b</Body><CTType>t</CTType></FILE>')
    assert (item.name, item.body, item.contentType, item.size) == ('n', b'b', 't', 1)


def test_a_file_without_body_tells_its_size():
    item = FileItem('f', size=12)
    assert item.dumps() == b'<File><name>f</name><size>12</size></File>'
    back = FileItem.loads(item.dumps())
    assert (back.body, back.size) == (None, 12)
    assert FileItem.loads(b'<File><size>many</size></File>').size is None
    assert FileItem('f', body=b'').dumps() == b'<File><name>f</name><body></body></File>'
    assert FileItem.loads(b'<File><body/><size>9</size></File>').size == 0


def test_bodies_that_xml_cannot_carry():
    assert b'<body enc="base64">AAE=</body>' in FileItem('f', body=b'\0\1').dumps()
    sample = b'<File><name>s</name><body enc="base64">U2ltcGxlIHRleHQ=</body><size>11</size></File>'
    assert FileItem.loads(sample).body == b'Simple text'


times = st.one_of(st.none(), st.integers(0, 4_000_000_000))
flag = st.sampled_from([None, True, False])


@given(st.binary(), st.text(), times, times, flag, flag)
def test_nothing_is_lost(body, name, created, accessed, executable, delete):
    item = FileItem(
        name,
        body=body,
        created=created,
        accessed=accessed,
        executable=executable,
        delete=delete,
        contentType='image/png',
        extensions={name: [name, '']},
    )
    back = FileItem.loads(item.dumps())
    assert back == item
    assert back.extensions == item.extensions


@pytest.mark.parametrize(
    ('text', 'seconds'),
    [
        ('19700102T000000Z', 86400),
        ('19700102T000000', 86400),
        (' 1970-01-02T00:00:00.5Z ', 86400),
        ('00010101T000000Z', -62135596800),
        ('', None),
        ('yesterday', None),
        ('19701302T000000Z', None),
        ('19700102', None),
    ],
)
def test_times(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize('seconds', [10**12, -(10**12), 10**30, float('inf'), float('nan')])
def test_impossible_times_are_left_out(seconds):
    assert format_time(seconds) is None
    assert FileItem('f', modified=seconds).dumps() == b'<File><name>f</name></File>'


@pytest.mark.parametrize('kind', [FileItem, FolderItem])
def test_from_filesystem(kind, tmp_path):
    path = tmp_path / 'thing'
    path.mkdir() if kind is FolderItem else path.write_bytes(b'x')
    os.utime(path, (1000.9, 2000.5))
    item = kind.fromFilesystem(path)
    assert (item.name, item.accessed, item.modified) == ('thing', 1000, 2000)
    assert item.created > 2000


def test_unknown_fields():
    with pytest.raises(TypeError, match='role'):
        FileItem('f', role='inbox')
