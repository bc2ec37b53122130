"""Sessions that cost their client next to nothing: messages of text with a few gaps to fill in.

So thousands of them can be led against a real server, and what is measured is the server.
"""

from __future__ import annotations

import http.client
import itertools
import random
import re
import socket
from collections.abc import Callable
from html import unescape
from urllib.parse import urlsplit

_MESSAGE = (
    "<?xml version='1.0' encoding='UTF-8'?><SyncML xmlns='SYNCML:SYNCML1.2'><SyncHdr>"
    '<VerDTD>1.2</VerDTD><VerProto>SyncML/1.2</VerProto><SessionID>{session}</SessionID>'
    '<MsgID>{number}</MsgID><Target><LocURI>{target}</LocURI></Target>'
    '<Source><LocURI>{device}</LocURI></Source>{cred}</SyncHdr><SyncBody>{commands}<Final/>'
    '</SyncBody></SyncML>'
)
_CRED = (
    "<Cred><Meta><Format xmlns='syncml:metinf'>b64</Format>"
    "<Type xmlns='syncml:metinf'>syncml:auth-basic</Type></Meta><Data>{}</Data></Cred>"
)
_ALERT = (
    '<Alert><CmdID>1</CmdID><Data>200</Data><Item><Target><LocURI>notes</LocURI></Target>'
    '<Source><LocURI>mine</LocURI></Source><Meta><Anchor xmlns="syncml:metinf">{last}'
    '<Next>{next}</Next></Anchor></Meta></Item></Alert>'
)
_STATUS = (
    '<Status><CmdID>{id}</CmdID><MsgRef>{message}</MsgRef><CmdRef>{ref}</CmdRef>'
    '<Cmd>{name}</Cmd><Data>{code}</Data></Status>'
)
_SYNC = (
    '<Sync><CmdID>90</CmdID><Target><LocURI>notes</LocURI></Target>'
    '<Source><LocURI>mine</LocURI></Source>{}</Sync>'
)
_ITEM = (
    '<{name}><CmdID>{id}</CmdID><Meta><Type xmlns="syncml:metinf">text/plain</Type></Meta><Item>'
    '<Source><LocURI>{luid}</LocURI></Source><Data>{body}</Data></Item></{name}>'
)
_DELETE = '<Delete><CmdID>1{0}</CmdID><Item><Source><LocURI>n{0}</LocURI></Source></Item></Delete>'
_PAIR = (
    '<MapItem><Target><LocURI>{0}</LocURI></Target><Source><LocURI>{0}</LocURI></Source></MapItem>'
)
_MAP = (
    '<Map><CmdID>91</CmdID><Target><LocURI>notes</LocURI></Target>'
    '<Source><LocURI>mine</LocURI></Source>{}</Map>'
)
_COMMAND = re.compile(r'<(Alert|Sync|Get|Put|Add|Replace|Delete)><CmdID>(\d+)</CmdID>')
_NEW = re.compile(r'<Add>.*?<Source><LocURI>([^<]+)</LocURI>')
_HEADER_STATUS = re.compile(r'<CmdRef>0</CmdRef>.*?<Data>(\d+)</Data>')


class Broken(Exception):
    """The server has not answered as it should."""


class Phone:
    """A device with an id, anchors, and a connection that it keeps."""

    def __init__(self, url: str, device: str, cred: str = '') -> None:
        parts = urlsplit(url)
        self.url, self.device, self.cred = url, device, cred and _CRED.format(cred)
        self._connection = http.client.HTTPConnection(parts.hostname or '', parts.port, timeout=120)
        self._numbers = itertools.count(1)
        self._anchor: str | None = None
        self._notes = 0

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    # --- messages -----------------------------------------------------------------------------

    def begin(self) -> int:
        """Send the first message of a session; return the Status of its header."""
        self.session = str(next(self._numbers))
        self.number, self.target, self.reply = 0, self.url, ''
        last = f'<Last>{self._anchor}</Last>' if self._anchor else ''
        return self.say(_ALERT.format(last=last, next=self.session), cred=self.cred)

    def say(self, commands: str, cred: str = '') -> int:
        """Send *commands*, after what answers the server's; return the Status of the header."""
        answers = ''.join(
            _STATUS.format(id=50 + n, message=self.number, ref=ref, name=name, code=200)
            for n, (name, ref) in enumerate([('SyncHdr', '0'), *_COMMAND.findall(self.reply)])
            if self.number
        )
        self.number += 1
        body = _MESSAGE.format(
            session=self.session,
            number=self.number,
            target=self.url,
            device=self.device,
            cred=cred,
            commands=answers + commands,
        )
        status, self.reply = self.post(body.encode())
        if status != 200:
            raise Broken(f'HTTP {status}: {self.reply}')
        found = re.search('<RespURI>(.*?)</RespURI>', self.reply)
        self.target = unescape(found[1]) if found else self.target
        header = _HEADER_STATUS.search(self.reply)
        return int(header[1]) if header else 0

    def post(self, body: bytes) -> tuple[int, str]:
        """Send bytes; return the HTTP status and the answer."""
        parts = urlsplit(self.target)
        path = f'{parts.path or "/"}?{parts.query}' if parts.query else parts.path or '/'
        headers = {'Content-Type': 'application/vnd.syncml+xml'}
        try:
            self._connection.request('POST', path, body, headers)
            answer = self._connection.getresponse()
        except (http.client.HTTPException, ConnectionError):
            self._connection.close()  # the server has closed it in the meantime
            self._connection.request('POST', path, body, headers)
            answer = self._connection.getresponse()
        return answer.status, answer.read().decode()

    # --- sessions -----------------------------------------------------------------------------

    def session_with(self, changes: str = '') -> None:
        """Lead a whole session, with *changes* of ours."""
        self._expect(self.begin(), 200, 212)
        self._expect(self.say(_SYNC.format(changes)), 200)
        pairs = ''.join(_PAIR.format(luid) for luid in _NEW.findall(self.reply))
        if pairs or _COMMAND.search(self.reply):
            self._expect(self.say(_MAP.format(pairs) if pairs else ''), 200)
        self._anchor = self.session

    def _expect(self, status: int, *good: int) -> None:
        if status not in good:
            raise Broken(f'Status {status}: {self.reply}')

    def nothing(self) -> None:
        """There is nothing to do."""
        self.session_with()

    def change(self) -> None:
        """Make a note, edit one, or delete one; never more than five are there."""
        step, self._notes = self._notes % 16, self._notes + 1
        note = f'{self.device} {step % 5}\n{self._notes}\nsome lines\nof text\n'
        if step == 15:
            self.session_with(''.join(_DELETE.format(n) for n in range(5)))
            return
        name = 'Add' if step < 5 else 'Replace'
        self.session_with(_ITEM.format(name=name, id=10, luid=f'n{step % 5}', body=note))

    def break_off(self) -> None:
        """Begin, send a change perhaps, and hang up."""
        self.begin()
        if self._notes % 2:
            self.say(_SYNC.format(''))
            if not _COMMAND.search(self.reply):  # that was the server's last word
                self._anchor = self.session
        if self._notes % 3:
            self.close()

    def hang_up_in_the_middle(self) -> None:
        """Announce a message, send the half of it, and go away without a word."""
        self.close()
        parts = urlsplit(self.url)
        with socket.create_connection((parts.hostname, parts.port)) as connection:
            connection.sendall(b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n<SyncML>')

    def garbage(self) -> None:
        """Send what is no message."""
        self.target = self.url
        status, _ = self.post(b'<SyncML>no message')
        if status < 400:
            raise Broken(f'HTTP {status}')

    def fail(self) -> None:
        """Try to come in with a password that is wrong."""
        cred, self.cred = self.cred, _CRED.format('c3RyYW5nZXI6d3Jvbmc=')
        try:
            self._expect(self.begin(), 401, 407, 417)
        finally:
            self.cred = cred


class Traffic:
    """Sessions of all kinds against the server at *url*, one after the other.

    Four devices come again and again, and each hundredth session is of one that was never there.
    """

    _KINDS: tuple[tuple[Callable[[Phone], None], int], ...] = (
        (Phone.nothing, 62),
        (Phone.change, 20),
        (Phone.break_off, 10),
        (Phone.hang_up_in_the_middle, 3),
        (Phone.garbage, 5),
    )

    def __init__(self, url: str, seed: int = 7) -> None:
        self.url = url
        self.led = 0
        self._dice = random.Random(seed)
        self._phones = [Phone(url, f'phone {number}') for number in range(4)]

    def lead(self, count: int) -> None:
        """Lead *count* sessions more."""
        kinds, weights = zip(*self._KINDS, strict=True)
        for number in range(self.led, self.led + count):
            if number % 100 == 50:
                stranger = Phone(self.url, f'stranger {number}')
                stranger.nothing()
                stranger.close()
                continue
            phone = self._phones[number % len(self._phones)]
            self._dice.choices(kinds, weights)[0](phone)
        self.led += count

    def close(self) -> None:
        """Hang up."""
        for phone in self._phones:
            phone.close()
