"""Damaged and hostile messages by the thousand: ``python -m tests.codec.fuzz COUNT SEED``.

Prints one JSON object: how many ended as what, how much memory the process took more than for
the sound messages, and everything that should not have happened.
"""

from __future__ import annotations

import json
import random
import resource
import signal
import sys
import tarfile
import time
import traceback
from collections import Counter
from pathlib import Path

from pysyncml.codec import decode, encode
from pysyncml.codec.wbxml import integer
from pysyncml.errors import CodecError, LocalProtocolError, UnknownCodec
from pysyncml.protocol.messages import Message

TESTS = Path(__file__).resolve().parent.parent
ARCHIVE = TESTS / 'interop' / 'traces' / 'syncevolution.tar.xz'
SECONDS = 20  # a message that takes longer hangs
TYPES = (
    'application/vnd.syncml+xml',
    'application/vnd.syncml+wbxml',
    'application/vnd.syncml+wbxml; charset=utf-16',
    'text/xml; charset="iso-8859-1"',
    'text/html',
    '',
)
BOMBS = (
    b'<!DOCTYPE SyncML [<!ENTITY e "xxxxxxxx">]>',
    b'<!DOCTYPE a [<!ENTITY a "xxxxxxxxxx"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY e "&b;&b;&b;">]>',
    b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
    b'<!DOCTYPE a [<!ENTITY % p "x"> %p;]>',
    b'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd">',
)


def corpus() -> dict[str, list[bytes]]:
    """Return small messages of every kind, in both encodings."""
    with tarfile.open(ARCHIVE) as archive:
        members = [member for member in archive if '.decoded.' not in member.name]
        contents = [archive.extractfile(member).read() for member in members]
    found: dict[str, list[bytes]] = {'xml': [], 'wbxml': []}
    for data in contents[::4]:
        message = decode(None, data)
        for encoding, several in found.items():
            written = encode(message, encoding)[1]
            if len(written) < 6000:
                several.append(written)
    return found


class Hang(BaseException):
    """A message took too long."""


class Fuzzer:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.corpus = corpus()

    def message(self) -> bytes:
        """Return one damaged message."""
        encoding = self.random.choice(('xml', 'wbxml'))
        data = bytearray(self.random.choice(self.corpus[encoding]))
        special = (self.xml if encoding == 'xml' else self.wbxml)()
        mutations = [self.truncate, self.flip, self.insert, self.delete, self.repeat, self.splice]
        for _ in range(self.random.choice((1, 1, 1, 2, 3, 8))):
            self.random.choice([*mutations, *special])(data)
        return bytes(data)

    def place(self, data: bytearray) -> int:
        return self.random.randrange(len(data) + 1)

    def many(self, most: int) -> int:
        """Return a number that is small nearly always."""
        return int(2 ** self.random.uniform(0, self.random.choice((4, 8, most))))

    # --- any bytes ---

    def truncate(self, data: bytearray) -> None:
        del data[self.place(data) :]

    def flip(self, data: bytearray) -> None:
        for _ in range(self.many(5)):
            if data:
                data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)

    def insert(self, data: bytearray) -> None:
        place = self.place(data)
        data[place:place] = self.random.randbytes(self.many(6))

    def delete(self, data: bytearray) -> None:
        place = self.place(data)
        del data[place : place + self.many(10)]

    def repeat(self, data: bytearray) -> None:
        start = self.place(data)
        piece = data[start : start + self.many(8)]
        data[start:start] = piece * min(self.many(10), 60_000 // (len(piece) + 1))

    def splice(self, data: bytearray) -> None:
        other = self.random.choice(self.corpus[self.random.choice(('xml', 'wbxml'))])
        start = self.random.randrange(len(other))
        place = self.place(data)
        data[place : place + self.many(8)] = other[start : start + self.many(9)]

    # --- XML ---

    def xml(self):
        return [self.nest_xml, self.tags_xml, self.bomb, self.reference, self.declare]

    def between(self, data: bytearray) -> int:
        found = data.find(b'<', self.place(data))
        return found if found >= 0 else len(data)

    def nest_xml(self, data: bytearray) -> None:
        name = self.random.choice((b'Sync', b'Atomic', b'Data', b'x', b'Item', b'DevInf', b'CTCap'))
        many, place = self.many(14), self.between(data)
        end = b'</%b>' % name * many if self.random.random() < 0.7 else b''
        data[place:place] = b'<%b>' % name * many + end

    def tags_xml(self, data: bytearray) -> None:
        place = self.between(data)
        tag = self.random.choice((b'<a/>', b'<Add/>', b'<Item/>', b'<p:q/>', b'<Data>x</Data>'))
        data[place:place] = tag * self.many(13)

    def bomb(self, data: bytearray) -> None:
        place = data.find(b'<SyncML')
        data[max(place, 0) : max(place, 0)] = self.random.choice(BOMBS)
        self.reference(data, b'&e;')

    def reference(self, data: bytearray, what: bytes = b'') -> None:
        place = data.find(b'>', self.place(data)) + 1
        codes = (b'&#0;', b'&#xD800;', b'&#xFFFFFFFF;', b'&#13;', b'&#65;', b'&lt;', b'&nbsp;')
        data[place:place] = (what or self.random.choice(codes)) * self.many(8)

    def declare(self, data: bytearray) -> None:
        charset = self.random.choice((b'utf-16', b'iso-8859-1', b'no-such', b'us-ascii', b'utf-7'))
        start = data.find(b'UTF-8')
        if start >= 0:
            data[start : start + 5] = charset

    # --- WBXML ---

    def wbxml(self):
        return [self.nest_wbxml, self.tags_wbxml, self.length, self.table, self.header]

    def nest_wbxml(self, data: bytearray) -> None:
        many, place = self.many(14), self.place(data)
        tag = bytes((self.random.choice((0x6A, 0x48, 0x4F, 0x4A, 0x54, 0x7F)),))
        data[place:place] = tag * many + (b'\1' * many if self.random.random() < 0.7 else b'')

    def tags_wbxml(self, data: bytearray) -> None:
        place = self.place(data)
        tag = self.random.choice(
            (b'\x12', b'\x45\x01', b'\x0f', b'\x4f\x03x\0\1', b'\0\1', b'\x44\0\1')
        )
        data[place:place] = tag * self.many(16)

    def length(self, data: bytearray) -> None:
        place = self.place(data)
        token = self.random.choice((b'\xc3', b'\x83', b'\x02', b'\x44', b'\x84\0', b'\x80'))
        number = integer(self.random.getrandbits(self.random.choice((7, 14, 31, 32, 60))))
        data[place : place + self.random.choice((0, 0, 3))] = token + number

    def table(self, data: bytearray) -> None:
        """Give the message a string table, and references into it."""
        table = self.random.choice((b'x' * self.many(16), b'ab\0' * self.many(12), b'\0' * 99))
        data[:5] = data[:4] + integer(len(table)) + table
        reference = b'\x83' + integer(self.random.randrange(2 * len(table)))
        for _ in range(self.random.choice((1, 5))):
            place = len(data) - self.random.randrange(min(100, len(data)) + 1)
            data[place:place] = reference * self.many(12)

    def header(self, data: bytearray) -> None:
        version = bytes((self.random.choice((1, 2, 3, 4)),))
        identifier = self.random.choice(
            (b'\xa4\1', b'\x9f\x51', b'\1', b'\0\0', b'\xa4\3', b'\x7f')
        )
        charset = self.random.choice(
            (b'\x6a', b'\x04', b'\x87\x75', b'\x87\x77', b'\0', b'\xff\x7f')
        )
        data[:4] = version + identifier + charset


def outcome(content_type: str, data: bytes, again: bool) -> str:
    """Return how a message ends; every other exception than the right ones gets out."""
    try:
        message = decode(content_type, data)
    except UnknownCodec:
        return 'UnknownCodec'
    except CodecError as error:
        assert '\n' not in str(error) and len(str(error)) < 300, str(error)
        return 'CodecError'
    assert isinstance(message, Message)
    if again:
        for encoding in ('xml', 'wbxml'):
            try:
                written = encode(message, encoding)
            except LocalProtocolError:
                continue  # a version has not got everything
            decode(*written)
    return 'Message'


def peak() -> float:
    """Return the most memory this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def hang(*_: object) -> None:
    raise Hang


def main(count: int, seed: int) -> dict[str, object]:
    fuzzer = Fuzzer(seed)
    for data in (each for several in fuzzer.corpus.values() for each in several):
        assert outcome('', data, True) == 'Message'
    before = peak()
    found: Counter[str] = Counter()
    wrong: list[str] = []
    longest = most = 0
    slowest = 0.0
    signal.signal(signal.SIGALRM, hang)
    for number in range(count):
        data = fuzzer.message()
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        started = time.process_time()
        try:
            found[outcome(fuzzer.random.choice(TYPES), data, number % 8 == 0)] += 1
        except (Exception, Hang):
            wrong.append(f'{number}: {traceback.format_exc(limit=-3)}')
        signal.setitimer(signal.ITIMER_REAL, 0)
        if (taken := time.process_time() - started) > slowest:
            slowest, longest = taken, len(data)
        most = max(most, len(data))
        if len(wrong) > 20:
            break
    return {
        'ends': found,
        'wrong': wrong,
        'memory': round(peak() - before, 1),
        'memory in all': round(peak(), 1),
        'slowest': f'{slowest:.2f} s for {longest} bytes',
        'largest': most,
    }


if __name__ == '__main__':
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
