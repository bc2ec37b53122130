"""What a hostile peer can do to a message: at the level of values, of the tree, of the bytes.

A mutation is made of a sound message, so that most of what is wrong with it is found late: it
gets through the decoder, and often through the session. Everything depends on the seed alone.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from xml.sax.saxutils import escape

from pysyncml.codec.node import Node
from pysyncml.constants import StatusCode
from tests.codec.fuzz import BOMBS, Fuzzer
from tests.hostile.trees import WRITERS, copy, el, find, uri, walk

NAMES = [
    '../evil', '../../outside/evil', '/evil', '//evil', '/', '//', '.', '..', '', ' ', '\n', '\t',
    'a/../../evil', 'a/./b', './x', 'a//b', 'a/', '..\\..\\evil', 'C:\\evil', 'C:evil', 'c:/evil',
    '\\\\host\\share', '%2e%2e%2fevil', '..%c0%afevil', '～/x', '~/.ssh/authorized_keys',
    '.sync/state.db', '.sync', '.SYNC/trash/x', '.sync./x', '.sync /x', '.ſync/x', '.sync::$DATA',
    '.git/hooks/pre-commit', '.GIT/config', 'git~1/x', '.g\u200cit/x', 'link/evil', 'link',
    'file-link', 'loop', 'loop/x', 'swap/evil', 'swap/deep/evil', 'swap', 'deep/deeper', 'deep',
    'note-1.txt', 'note-2.txt', 'note-1.txt/below', 'NOTE-1.TXT', 'sub/note-3.txt', 'sub',
    'a\0b', '\0', '\x01\x02', '\x7f', '\u202etxt.exe', '\u2066x\u2069', '\ufeff', '\ufffe',
    '\U0010ff41', 'e\u0301', '\u00e9', 'CON', 'aux.txt', 'nul', 'com1.txt', 'a.', 'a ', ' a',
    '*?<>|"',
    'x' * 255, 'x' * 256, '\u00e9' * 128, 'x/' * 127 + 'y', 'd/' * 2100, 'x' * 5000, 'z' * 70_000,
    "'; DROP TABLE pysyncml_mapping; --", '" OR ""="', "1' OR '1'='1", '%', '_', '%s%s%n', '{0}',
    '{self.__class__}', '$(touch evil)', '`id`', '<script>', ']]>', '&amp;', '&e;', '\r\nX: y',
    '#1', '#0', '#-1', '#99999999999999999999', '#' + '9' * 400, 'luid-1', 'luid-2', 'luid-3',
    'new-1', 'guid-1', '0', '-1', 'None', 'null', 'True', '[]', '\x1b[2J', 'notes', './notes',
    '/notes', 'NOTES', 'http://h/notes', 'notes?x', 'notes?SUBJECT&EQ;', './devinf12', 'devinf11',
]  # fmt: skip
NUMBERS = [
    '', '0', '1', '-1', '2', '3', '5', '64', '100', '255', '1000', '65536', '1e9', '0x10', ' 7 ',
    '+1', '007', 'NaN', 'inf', '\u00b2', '\u0661', 'x', '2147483647', '2147483648', '4294967296',
    '9223372036854775807', '9223372036854775808', '999999999999999999', '1' + '0' * 30, '9' * 5000,
    '-9223372036854775809', '1.5', '1,5', '1 1', '\0',
]  # fmt: skip
CODES = [
    *(str(int(code)) for code in StatusCode),
    *'0 1 99 100 299 399 600 999 -200 200.5 2OO'.split(),
]
ALERTS = [str(n) for n in (*range(200, 216), *range(220, 230), 100, 101, 0, -1, 999, 10**17)]
TYPES = [
    'text/plain', 'text/x-s4j-sifn', 'application/vnd.syncml-devinf+xml', 'text/x-vcard', '*/*', '',
    'application/vnd.syncml-devinf+wbxml', 'application/vnd.omads-file+xml',
    'text/plain;charset=utf-7',
    'text/x-s4j-sifn;version=9', 'application/vnd.syncml+xml', 'x' * 3000, 'syncml:filtertype-cgi',
    'syncml:auth-md5', 'syncml:auth-basic', 'syncml:auth-MAC', 'text/plain\0', '\u202e',
]  # fmt: skip
FORMATS = ['b64', 'bin', 'xml', 'chr', 'int', 'bool', 'node', 'B64', '', 'gzip', 'x' * 999]
VERSIONS = ['1.2', '1.1', '1.0', '1.3', '2.0', '', 'SyncML/1.2', 'SyncML/1.1', 'SyncML/9', 'x', '1']
COMMANDS = (
    'Add Alert Atomic Copy Delete Exec Get Map Move Put Replace Results Search Sequence Status '
    'Sync Correlator Final Nothing'
).split()
FLAGS = ['NoResp', 'NoResults', 'Archive', 'SftDel', 'MoreData', 'Final', 'FieldLevel', 'SharedMem']
QUERIES = [
    'SUBJECT&EQ;x', 'name&CON;n&AND;modified&GE;20200101T000000Z', '&LUID;&EQ;luid-1', '&NULL;',
    '&AND;' * 500, '(' * 3000, 'a&EQ;b&OR;' * 5000, 'name&EQ;' + '%41' * 5000,
    'name&iCON;' + 'é' * 999,
    'SINCE&EQ;99999999T999999Z', 'modified&GT;-1', 'x&XX;y', '%', '%zz', '\0', 'MAXSIZE&EQ;1',
    'name&CON;&OR;' * 90 + 'name&CON;', 'name&EQ;' + '1' * 9000,
]  # fmt: skip
SIFN = b'<?xml version="1.0"?><note><SIFVersion>1.1</SIFVersion>%b</note>'


class Mutator:
    """Makes hostile messages out of sound ones.

    Attributes:
        random: where all chance comes from.
        recorded: sound messages of both sides, as bytes, by encoding.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.bytes = Fuzzer(seed)
        self.bytes.random = self.random
        self.recorded = self.bytes.corpus
        self._by_name: dict[str, Callable[[], str | bytes]] = {
            **dict.fromkeys(
                'CmdID CmdRef MsgID MsgRef SessionID Size MaxMsgSize MaxObjSize FreeMem FreeID '
                'NumberOfChanges MaxGUIDSize SyncType MaxID MaxMem MaxSize MaxOccur'.split(),
                self.number,
            ),
            **dict.fromkeys('LocURI LocName SourceRef TargetRef RespURI'.split(), self.name),
            **dict.fromkeys('VerDTD VerProto'.split(), lambda: self.pick(VERSIONS)),
            **dict.fromkeys('Type CTType'.split(), lambda: self.pick(TYPES)),
            'Format': lambda: self.pick(FORMATS),
            'Cmd': lambda: self.pick(COMMANDS),
            'Data': self.data,
            'Body': self.data,
            'EMI': lambda: self.pick(
                ['datapos=0', 'datapos=9', 'datapos=' + '9' * 99, 'pysyncml-deletions=agreed']
            ),
        }

    # --- chance ---

    def pick(self, things):
        return things[self.random.randrange(len(things))]

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    # --- values ---

    def name(self) -> str:
        if self.chance(0.1):
            return f'{self.pick(NAMES)}{self.pick(NAMES)}'[:100_000]
        if self.chance(0.002):
            return 'L' * 1_000_000
        return self.pick(NAMES)

    def number(self) -> str:
        if self.chance(0.3):
            return str(self.random.choice((1, -1)) * self.random.getrandbits(self.pick((2, 4, 8))))
        return self.pick(NUMBERS)

    def data(self) -> str | bytes:
        return self.pick((self.code, self.code, self.name, self.note, self.note, self.junk))()

    def code(self) -> str:
        return self.pick(CODES) if self.chance(0.6) else self.pick(ALERTS)

    def note(self) -> bytes:
        """Return a note as SIF-N with a hostile name, or with what XML has to offer."""
        if self.chance(0.15):
            return self.pick(BOMBS) + b'<note><Subject>&e;</Subject></note>'
        if self.chance(0.05):
            depth = self.pick((70, 300, 5000, 60_000))
            return SIFN % (b'<a>' * depth + b'</a>' * depth)
        parts = []
        for _ in range(self.pick((1, 1, 1, 2, 3, 30))):
            tag = self.pick(('Subject', 'Subject', 'Body', 'Modified', 'Color', 'x', 'note'))
            text = self.name() if tag != 'Modified' else self.pick(('x', '99990101T000000Z', '-1'))
            enc = self.pick(('', '', '', ' enc="base64"', ' enc="quoted-printable"', ' enc="x"'))
            text = escape(text).encode('utf-8', 'surrogatepass')
            parts.append(b'<%b%b>%b</%b>' % (tag.encode(), enc.encode(), text, tag.encode()))
        return SIFN % b''.join(parts)

    def junk(self) -> bytes:
        kind = self.random.randrange(6)
        if kind == 0:
            return self.random.randbytes(self.random.randrange(400))
        if kind == 1:
            return gzip.compress(bytes(1 << 20))
        if kind == 2:
            return b'====' * self.random.randrange(9) + b'QUJD' * self.random.randrange(9) + b'='
        if kind == 3:
            return self.pick(QUERIES).encode()
        if kind == 4:
            return 'x\u00e9'.encode(self.pick(('utf-16', 'utf-7', 'latin-1', 'utf-32')))
        return b'A' * self.pick((0, 1, 4096, 70_000))

    # --- messages ---

    def mutate(self, root: Node, encoding: str, version: str) -> bytes:
        """Return the bytes of what becomes of a sound message."""
        kind = self.random.random()
        if kind < 0.02:
            return self.recorded_bytes()
        if kind < 0.08:
            data = bytearray(WRITERS[encoding](root, version))
            self.damage(data, encoding)
            return bytes(data)
        root = copy(root)
        for _ in range(self.pick((1, 1, 1, 2, 2, 3, 5, 12))):
            self.pick((self.change_value, self.change_value, self.change_value, self.change_tree))(
                root
            )
        if kind < 0.09:
            encoding = self.pick(('xml', 'wbxml'))
        data = bytearray(WRITERS[encoding](root, version))
        if kind > 0.97:
            self.damage(data, encoding)
        if kind > 0.995:
            return self.recode(bytes(data))
        return bytes(data)

    def recorded_bytes(self) -> bytes:
        data = bytearray(self.pick(self.recorded[self.pick(('xml', 'wbxml'))]))
        if self.chance(0.7):
            self.damage(data, 'xml' if data[:1] == b'<' else 'wbxml')
        return bytes(data)

    def damage(self, data: bytearray, encoding: str) -> None:
        special = self.bytes.xml() if encoding == 'xml' else self.bytes.wbxml()
        plain = (self.bytes.truncate, self.bytes.flip, self.bytes.insert, self.bytes.delete,
                 self.bytes.repeat, self.bytes.splice)  # fmt: skip
        for _ in range(self.pick((1, 1, 1, 2, 3))):
            self.pick((*plain, *special))(data)

    def recode(self, data: bytes) -> bytes:
        try:
            text = data.decode()
            return text.encode(self.pick(('utf-16', 'utf-16-le', 'utf-7', 'utf-32', 'utf-8-sig')))
        except UnicodeDecodeError:
            return gzip.compress(data)

    def content_type(self, encoding: str) -> str:
        right = {'xml': 'application/vnd.syncml+xml', 'wbxml': 'application/vnd.syncml+wbxml'}
        if self.chance(0.97):
            return right[encoding]
        return self.pick(
            [*right.values(), 'text/html', 'text/xml;charset=utf-7', 'image/png', '\u00e9',
             'application/vnd.syncml+xml; charset=no-such', 'multipart/form-data; boundary=x']
        )  # fmt: skip

    # --- values in a tree ---

    def change_value(self, root: Node) -> None:
        leaves = [(parent, node) for parent, node in walk(self._most(root)) if not node.children]
        if not leaves:
            return
        parent, node = self.pick(leaves)
        if node.name == 'Data' and parent.name in ('Alert', 'Status') and self.chance(0.8):
            node.text = self.pick(ALERTS if parent.name == 'Alert' else CODES)
            return
        make = self._by_name.get(node.name, self.data)
        node.text = make() if self.chance(0.9) else self.data()
        if self.chance(0.02):
            node.text = self.pick(QUERIES)

    # --- trees ---

    def change_tree(self, root: Node) -> None:
        everything = list(walk(self._most(root)))
        if not everything:
            root.children.append(el('SyncHdr'))
            return
        parent, node = self.pick(everything)
        change = self.pick(
            (self.drop, self.double, self.move, self.shuffle, self.nest, self.rename, self.flag,
             self.command, self.command, self.wrap, self.answers, self.ids, self.places, self.many,
             self.filter, self.limits, self.deletions)
        )  # fmt: skip
        change(root, parent, node)

    def _most(self, root: Node) -> Node:
        """Return where to change something: most often not in the header, which ends sessions."""
        return self._body(root) if self.chance(0.8) else root

    def _body(self, root: Node) -> Node:
        return find(root, 'SyncBody') or root

    def drop(self, root: Node, parent: Node, node: Node) -> None:
        parent.children = [child for child in parent.children if child is not node]

    def double(self, root: Node, parent: Node, node: Node) -> None:
        parent.children += [copy(node) for _ in range(self.pick((1, 1, 2, 5)))]

    def move(self, root: Node, parent: Node, node: Node) -> None:
        _, other = self.pick(list(walk(root)))
        other.children.append(copy(node))
        if self.chance(0.5):
            self.drop(root, parent, node)

    def shuffle(self, root: Node, parent: Node, node: Node) -> None:
        self.random.shuffle(parent.children)

    def nest(self, root: Node, parent: Node, node: Node) -> None:
        for _ in range(self.pick((1, 2, 10, 50, 80))):
            inner = Node(node.name, node.text, node.children)
            node.text, node.children = None, [inner]

    def wrap(self, root: Node, parent: Node, node: Node) -> None:
        name = self.pick(('Atomic', 'Sequence', 'Sync', 'Item', 'Meta', 'MetInf', 'Data', 'Filter'))
        inner = Node(node.name, node.text, node.children)
        node.name, node.text, node.children = name, None, [el('CmdID', self.number()), inner]

    def rename(self, root: Node, parent: Node, node: Node) -> None:
        names = [n.name for _, n in walk(root)]
        node.name = self.pick(
            (self.pick(names), self.pick(COMMANDS), self.pick(FLAGS), 'x-unknown')
        )

    def flag(self, root: Node, parent: Node, node: Node) -> None:
        node.children.append(el(self.pick(FLAGS)))

    def command(self, root: Node, parent: Node, node: Node) -> None:
        """Add a command of any role and any stage, with ids of anything, anywhere."""
        where = self.pick((self._body(root), self._body(root), parent))
        name = self.pick(COMMANDS)
        item = el(
            'Item',
            uri('Target', self.name()) if self.chance(0.5) else None,
            uri('Source', self.name()) if self.chance(0.6) else None,
            el('SourceParent', el('LocURI', self.name())) if self.chance(0.1) else None,
            el('TargetParent', el('LocURI', self.name())) if self.chance(0.1) else None,
            el('Meta', el('Size', self.number())) if self.chance(0.2) else None,
            el('Data', self.data()),
            el('MoreData') if self.chance(0.15) else None,
        )
        meta = el('Meta', el('Type', self.pick(TYPES)), el('Format', self.pick(FORMATS)))
        new = el(name, el('CmdID', self.number()), meta if self.chance(0.6) else None, item)
        if name == 'Status':
            new.children += [
                el('MsgRef', self.number()), el('CmdRef', self.number()),
                el('Cmd', self.pick(COMMANDS)), el('Data', self.code()),
            ]  # fmt: skip
        if name in ('Sync', 'Atomic', 'Sequence', 'Map'):
            inner = [copy(child) for child in self._body(root).children[:3]]
            new.children += [uri('Target', 'notes'), uri('Source', 'notes'), *inner]
        where.children.insert(self.random.randrange(len(where.children) + 1), new)

    def answers(self, root: Node, parent: Node, node: Node) -> None:
        """Add Statuses for everything that may have been asked, with one code, or any."""
        body, code = self._body(root), self.code()
        for number in range(self.pick((1, 5, 30))):
            code = self.code() if self.chance(0.3) else code
            body.children.append(
                el('Status', el('CmdID', 500 + number), el('MsgRef', self.pick('12345')),
                   el('CmdRef', number), el('Cmd', self.pick(COMMANDS)), el('Data', code))
            )  # fmt: skip

    def ids(self, root: Node, parent: Node, node: Node) -> None:
        """Give all elements of one kind one value."""
        name = self.pick(('CmdID', 'MsgRef', 'CmdRef', 'LocURI', 'MsgID', 'Data', 'Type'))
        text = self._by_name[name]()
        for _, each in walk(root):
            if each.name == name:
                each.text, each.children = text, []

    def places(self, root: Node, parent: Node, node: Node) -> None:
        """Put items into folders: cyclic ones, others', and themselves."""
        for _, each in list(walk(root)):
            if each.name == 'Item':
                own = find(each, 'LocURI')
                place = own.text if own is not None and self.chance(0.5) else self.name()
                kind = self.pick(('SourceParent', 'TargetParent'))
                each.children.insert(0, el(kind, Node('LocURI', place)))

    def many(self, root: Node, parent: Node, node: Node) -> None:
        """Say the same a few hundred times."""
        if sum(1 for _ in walk(node)) < 12:
            parent.children += [copy(node) for _ in range(self.pick((50, 100, 300)))]

    def filter(self, root: Node, parent: Node, node: Node) -> None:
        record = el(
            'Record',
            el(
                'Item',
                el('Meta', el('Type', 'syncml:filtertype-cgi')),
                el('Data', self.pick(QUERIES)),
            ),
        )
        kind = self.pick(('INCLUSIVE', 'EXCLUSIVE', '', 'x'))
        targets = [each for _, each in walk(root) if each.name == 'Target']
        if targets:
            self.pick(targets).children.append(el('Filter', record, el('FilterType', kind)))

    def limits(self, root: Node, parent: Node, node: Node) -> None:
        """Lie about what is taken, and how large things are."""
        header = find(root, 'SyncHdr')
        name = self.pick(('MaxMsgSize', 'MaxMsgSize', 'MaxObjSize'))
        (header or root).children.append(el('Meta', el(name, self.number())))

    def deletions(self, root: Node, parent: Node, node: Node) -> None:
        """Delete what is, or may be, there."""
        sync = find(root, 'Sync') or self._body(root)
        ids = [f'{kind}-{n}' for n in range(60) for kind in ('luid', 'guid')]
        for number, name in enumerate(self.random.sample(ids, self.pick((1, 10, 60)))):
            kind = self.pick(('Source', 'Target'))
            sync.children.append(
                el('Delete', el('CmdID', 900 + number), el('Item', uri(kind, name)))
            )
