"""Notes as SIF-N, as plain text, and as bare bytes."""

from __future__ import annotations

import base64
import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysyncml.agents import BaseNoteAgent, NoteItem, markup
from pysyncml.constants import TYPE_BARE_NOTE, TYPE_SIF_NOTE, TYPE_TEXT_PLAIN
from pysyncml.errors import InvalidContent, InvalidContentType

HEAD = b'<note><SIFVersion>1.1</SIFVersion>'


def sif(note):
    return note.dumps(TYPE_SIF_NOTE, '1.1')


def test_sif():
    note = NoteItem('NAME', b'BODY', Color='7')
    text = HEAD + b'<Subject>NAME</Subject><Body>BODY</Body><Color>7</Color></note>'
    assert sif(note) == text
    assert note.dumps() == note.dumps('text/x-s4j-sifn', '1.0') == text
    assert note.dumps('Text/X-S4J-SIFN; charset=UTF-8') == text
    assert NoteItem.loads(text) == note
    assert NoteItem.loads(text).extensions == {'Color': ['7']}


@pytest.mark.parametrize(
    ('note', 'inside'),
    [
        (NoteItem(), b''),
        (NoteItem('', b''), b'<Subject></Subject><Body></Body>'),
        (NoteItem('n'), b'<Subject>n</Subject>'),
        (NoteItem(body=b'<&>"\''), b'<Body>&lt;&amp;&gt;"\'</Body>'),
        (NoteItem(body='é\u20ac\U0001f600'), b'<Body>&#233;&#8364;&#128512;</Body>'),
        (NoteItem(body=b'a\r\nb\rc\n\td '), b'<Body>a&#13;\nb&#13;c\n\td </Body>'),
        (NoteItem(body=b'a\0'), b'<Body enc="base64">YQA=</Body>'),
        (NoteItem(body=b'\x0c'), b'<Body enc="base64">DA==</Body>'),
        (NoteItem(body=b'\xff\xfe'), b'<Body enc="base64">//4=</Body>'),
        (NoteItem(body='\uffff'), b'<Body enc="base64">77+/</Body>'),
        (NoteItem('caf\udce9'), b'<Subject enc="base64">Y2Fm6Q==</Subject>'),
        (NoteItem('a\x01'), b'<Subject enc="base64">YQE=</Subject>'),
    ],
)
def test_what_sif_looks_like(note, inside):
    assert sif(note) == HEAD + inside + b'</note>'
    back = NoteItem.loads(sif(note), TYPE_SIF_NOTE)
    assert (back.name, back.body) == (note.name, note.body)


_PIECES = [
    '<note>',
    '</note>',
    '<a>',
    '</a>',
    '<b/>',
    '<a x="1">',
    '<!-- -->',
    '<?p?>',
    '&lt;',
    'x',
]


@given(st.lists(st.sampled_from([*_PIECES, '\n', '\r', '\x01', ' ', 'é', ']]>', '"', '&#13;'])))
def test_the_plainest_form_is_read_as_by_a_parser(pieces):
    data = f'<note>{"".join(pieces)}</note>'.encode()
    parts = markup.flat_parts(data, 'note')
    if parts is not None:
        root = markup.parse(data)
        assert parts == [(markup.local_name(n), markup.content(n)) for n in root.iterchildren('*')]


def test_notes_of_plain_text_need_no_parser(monkeypatch):
    note = NoteItem('a/b c.txt', b'one\n\ttwo "3"', Categories='work, urgent')
    monkeypatch.setattr(markup, 'parse', None)
    assert NoteItem.loads(sif(note), TYPE_SIF_NOTE) == note


@given(
    st.one_of(st.none(), st.binary(), st.text().map(lambda t: t.encode())),
    st.one_of(
        st.none(), st.text(), st.binary().map(lambda b: b.decode('utf-8', 'surrogateescape'))
    ),
    st.lists(st.text(), max_size=3),
)
def test_nothing_is_lost_in_sif(body, name, values):
    note = NoteItem(name, body, extensions={'Categories': values} if values else None)
    back = NoteItem.loads(sif(note), TYPE_SIF_NOTE)
    assert back == note
    assert back.extensions == note.extensions
    assert sif(back) == sif(note)


def test_other_fields_are_kept_in_order_and_number():
    data = (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<note><Subject>S</Subject><Color>3</Color>'
        b'<Date/><Categories>a</Categories><Categories>b</Categories><!-- x --></note>'
    )
    note = NoteItem.loads(data, TYPE_SIF_NOTE, '1.1')
    assert note.extensions == {'Color': ['3'], 'Date': [''], 'Categories': ['a', 'b']}
    assert sif(note).endswith(
        b'<Color>3</Color><Date></Date><Categories>a</Categories><Categories>b</Categories></note>'
    )


@pytest.mark.parametrize(
    'data',
    [
        '<note><Subject>é</Subject></note>'.encode(),
        b'\xef\xbb\xbf<note><Subject>\xc3\xa9</Subject></note>',
        b'\n <?xml version="1.0"?><note><Subject>\xc3\xa9</Subject></note>\0\n',
        '<note><Subject>é</Subject></note>'.encode('utf-16'),
        '<?xml version="1.0" encoding="UTF-16"?><note><Subject>é</Subject></note>'.encode('utf-16'),
        '\ufeff<note><Subject>é</Subject></note>'.encode('utf-16-be'),
        '<?xml version="1.0" encoding="iso-8859-1"?><note><Subject>é</Subject></note>'.encode(
            'latin-1'
        ),
        b'<n:note xmlns:n="x:y"><n:Subject>&#233;</n:Subject></n:note>',
        b'<note><Subject><![CDATA[\xc3\xa9]]></Subject></note>',
        b'<note><Subject enc="quoted-printable">=C3=A9</Subject></note>',
        b'<note><Subject enc="BASE64"> w6\nk= </Subject></note>',
        b'<!DOCTYPE note SYSTEM "http://x.invalid/sif.dtd"><note><Subject>\xc3\xa9</Subject></note>',
    ],
)
def test_what_is_read_leniently(data):
    assert NoteItem.loads(data, TYPE_SIF_NOTE).name == 'é'


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b'plain',
        b'<note><Body>x</note>',
        b'<contact/>',
        b'<note><Body>\x01</Body></note>',
        b'<note><Body>\xff</Body></note>',
        b'<note><Body enc="base64">???</Body></note>',
        b'<note><Body enc="rot13">x</Body></note>',
        b'\xff\xfe<',
        b'<!DOCTYPE note [<!ENTITY a "b">]><note><Body>&a;</Body></note>',
        b'<!DOCTYPE note [<!ENTITY a SYSTEM "file:///etc/passwd">]><note><Body>&a;</Body></note>',
        '<!DOCTYPE note [<!ENTITY a "b">]><note><Body>&a;</Body></note>'.encode('utf-16'),
        b'<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE n [+ADwAIQ-ENTITY a "b">]><n/>',
    ],
)
def test_what_is_refused(data):
    with pytest.raises(InvalidContent) as caught:
        NoteItem.loads(data, TYPE_SIF_NOTE)
    assert '\n' not in str(caught.value)


def test_a_large_note():
    body = b'x\r\n\xc3\xa9' * 2_500_000
    assert NoteItem.loads(sif(NoteItem('big', body)), TYPE_SIF_NOTE).body == body


def test_a_deep_note_is_refused():
    with pytest.raises(InvalidContent):
        NoteItem.loads(b'<note>' * 100_000, TYPE_SIF_NOTE)


def test_a_field_that_cannot_be_an_element():
    with pytest.raises(InvalidContent, match='a b'):
        sif(NoteItem('n', extensions={'a b': ['x']}))


@pytest.mark.parametrize(
    ('body', 'name'),
    [
        (b'first\nsecond', 'first'),
        (b'Title: My note \r\nsecond', 'My note'),
        (b'NAME:x', 'x'),
        (b' name:\ty\rz', 'y'),
        (b'titled: x', 'titled: x'),
        (b'\xef\xbb\xbfbom', 'bom'),
        (b'caf\xe9\n', 'caf\udce9'),
        (b'\nsecond', ''),
        (b'', ''),
    ],
)
def test_plain_text(body, name):
    note = NoteItem.loads(body, 'text/plain; charset=utf-8', '1.0')
    assert (note.name, note.body, note.extensions) == (name, body, {})
    assert note.dumps(TYPE_TEXT_PLAIN) == body


def test_plain_text_of_nothing():
    assert NoteItem('n').dumps(TYPE_TEXT_PLAIN) == b''


def test_the_type_is_guessed_when_it_is_not_told():
    assert NoteItem.loads('title: x\ny').name == 'x'
    assert NoteItem.loads('<?xml version="1.0"?><note/>').name is None


def test_other_types():
    with pytest.raises(InvalidContentType, match='vcard'):
        NoteItem().dumps('text/x-vcard')
    with pytest.raises(InvalidContentType, match='vcard'):
        NoteItem.loads(b'', 'text/x-vcard')


def test_items():
    assert NoteItem('a', b'b') == NoteItem(name='a', body='b', id='5')
    assert NoteItem('a', b'b') != NoteItem('a', b'c')
    assert str(NoteItem('a')) == 'Note "a"'


def test_agent():
    agent = BaseNoteAgent()
    assert [str(each) for each in agent.contentTypes] == [
        'text/x-s4j-sifn@1.1:PrefTxRx',
        'text/x-s4j-sifn@1.0:TxRx',
        'text/plain@1.1,1.0:TxRx',
    ]
    note = NoteItem('a', b'b')
    assert agent.loadsItem(agent.dumpsItem(note, TYPE_SIF_NOTE, '1.1'), TYPE_SIF_NOTE) == note


def test_a_merge_keeps_the_extensions_of_both_sides():
    class Notes(BaseNoteAgent):
        def replaceItem(self, item, reportChanges):
            self.kept = item

    agent = Notes()
    local = NoteItem('m', b'a\nb', id='1', Color='7', Folder='x')
    remote = NoteItem('n', b'a\nB', Color='3')
    spec = agent.newChangeSpec({'name': 'n', 'body': b'a\nb'}, local.values())
    agent.mergeItems(local, remote, spec)
    assert (agent.kept.id, agent.kept.name, agent.kept.body) == ('1', 'm', b'a\nB')
    assert agent.kept.extensions == {'Color': ['3'], 'Folder': ['x']}


def test_a_conflict_is_kept_under_a_name_of_its_own():
    item = BaseNoteAgent().conflictItem(NoteItem('a/b.txt', b'', id='5'), 'phone')
    assert item.id is None
    assert item.name.startswith('a/b')
    assert 'phone' in item.name
    assert item.name.endswith('.txt')
    assert BaseNoteAgent().conflictItem(NoteItem(body=b''), 'phone').name is None


def test_as_a_mixin_of_a_database_model():
    sqlalchemy = pytest.importorskip('sqlalchemy')
    from sqlalchemy import orm

    class Base(orm.DeclarativeBase):
        pass

    class Stored(Base, NoteItem):
        __tablename__ = 'note'
        id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)
        name = sqlalchemy.Column(sqlalchemy.String)
        sha256 = sqlalchemy.Column(sqlalchemy.String)

    engine = sqlalchemy.create_engine('sqlite://')
    Base.metadata.create_all(engine)
    with orm.Session(engine) as session:
        note = Stored(name='n', sha256='x')
        note.body = b'temporary'
        session.add_all([note, Stored(name='m')])
        session.commit()
    with orm.Session(engine) as session:
        note, other = session.query(Stored).order_by(Stored.id)
        assert (note.name, note.body, note.extensions) == ('n', None, {})
        note.body = b'\xff'
        note.addExtension('Color', '7')
        assert b'enc="base64"' in sif(note)
        assert other.extensions == {}
        assert note != other
        session.delete(other)
        session.commit()
        assert session.query(Stored).count() == 1
        note.body = None
        assert session.is_modified(note) is False
    assert type(Stored.load(io.BytesIO(sif(NoteItem('a', b'b'))), TYPE_SIF_NOTE)) is Stored


def test_base64_is_what_other_programs_read():
    body = bytes(range(256))
    inside = sif(NoteItem(body=body)).partition(b'<Body enc="base64">')[2].partition(b'</Body>')[0]
    assert base64.b64decode(inside) == body


def test_a_declaration_is_looked_for_at_the_beginning_only():
    """A text of blanks must not take time that grows with its square."""
    begin = time.process_time()
    text = '<note><Body>' + ' ' * 100_000 + '<![CDATA[<?xml?>]]></Body></note>'
    note = NoteItem.loads(text.encode('utf-16'), TYPE_SIF_NOTE)
    assert time.process_time() - begin < 2
    assert note.body == b' ' * 100_000 + b'<?xml?>'


# --- bare bytes -----------------------------------------------------------------------------------


@given(
    st.one_of(
        st.none(), st.text(), st.binary().map(lambda b: b.decode('utf-8', 'surrogateescape'))
    ),
    st.binary(),
    st.dictionaries(st.text(), st.lists(st.text(), max_size=3), max_size=3),
)
def test_bare_notes_come_back(name, body, extensions):
    note = NoteItem(name, body, extensions=extensions)
    data = note.dumps(TYPE_BARE_NOTE, '1.0')
    assert data.startswith(body)
    back = NoteItem.loads(data, TYPE_BARE_NOTE)
    assert (back.name, back.body, back.extensions) == (name, body, extensions)


def test_a_bare_note_whose_body_is_left_out():
    note = NoteItem('name', extensions={'Color': ['7']})
    note.left_out = 'ab' * 32
    back = NoteItem.loads(note.dumps(TYPE_BARE_NOTE, '1.0'), TYPE_BARE_NOTE)
    assert (back.name, back.body, back.left_out) == ('name', None, 'ab' * 32)
    assert back.extensions == {'Color': ['7']}


def ended(said):
    return b'body' + said + b'%08x' % len(said)


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b'0000000',
        b'00000000',
        b'body00000005',
        b'body0000000x',
        b'body-0000001',
        b'bodyffffffff',
        ended(b''),
        ended(b'{}'),
        ended(b'[]'),
        ended(b'7'),
        ended(b'{"name": 7, "extensions": {}}'),
        ended(b'{"name": "x", "extensions": []}')[:-1],
        ended(b'{"name": "x", "extensions": 7}'),
        ended(b'{"name": "x", "extensions": {"a": 7}}'),
        ended(b'{"name": "x", "extensions": {}, "sha256": "%s"}' % (b'0' * 64)),
        ended(b'{"name": "x", "extensions": {}, "sha256": 7}')[4:],
        ended(b'{"name": "x", "extensions": {}, "sha256": "%s"}' % (b'G' * 64))[4:],
        ended(b'[' * 100_000),
        ended(b' ' * (1 << 20) + b'{"name": "x", "extensions": {}}'),
    ],
)
def test_what_is_no_bare_note(data):
    with pytest.raises(InvalidContent):
        NoteItem.loads(data, TYPE_BARE_NOTE)
