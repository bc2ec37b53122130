"""Helpers for the tests of the codecs."""

from __future__ import annotations

from pysyncml.codec import decode, encode
from pysyncml.protocol.messages import Command, Header, Item, Location, Message

TYPE = 'application/vnd.syncml+xml'


def message(*commands: Command, version: str = '1.2', **more) -> Message:
    header = Header(
        version=version,
        dtd_version=version,
        session_id='1',
        msg_id='1',
        target=Location('http://server/sync'),
        source=Location('dev-1', 'user'),
        **more,
    )
    return Message(header=header, commands=commands, final=True)


def written(*commands: Command, version: str = '1.2', **more) -> str:
    return encode(message(*commands, version=version, **more))[1].decode()


def again(*commands: Command, version: str = '1.2') -> tuple[Command, ...]:
    return decode(*encode(message(*commands, version=version))).commands


def read(body: str, root: str = '<SyncML>', header: str = '') -> Message:
    header = header or (
        '<SyncHdr><VerDTD>1.2</VerDTD><VerProto>SyncML/1.2</VerProto><SessionID>1</SessionID>'
        '<MsgID>1</MsgID><Target><LocURI>s</LocURI></Target><Source><LocURI>c</LocURI></Source>'
        '</SyncHdr>'
    )
    end = '</' + root[1:-1].split()[0] + '>'
    return decode(TYPE, f'{root}{header}<SyncBody>{body}</SyncBody>{end}'.encode())


def read_item(inside: str, command: str = '') -> Item:
    commands = read(f'<Add><CmdID>1</CmdID>{command}<Item>{inside}</Item></Add>').commands
    return commands[0].items[0]
