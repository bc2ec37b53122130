"""One conversation: which stage each side has reached, and what still awaits an answer.

A :class:`Session` turns messages into (command, what it answers) pairs and what we have to say
into messages. It knows the order of the protocol and nothing of items, databases or networks,
and it is a plain record between two messages: :meth:`Session.snapshot` and
:meth:`Session.restore` take it through a database, so that a server may be restarted in the
middle of a package (OMA-DS-Protocol 1.2, §5 and §6).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from pysyncml.constants import AlertCode, Role, StatusCode
from pysyncml.errors import LocalProtocolError, RemoteProtocolError
from pysyncml.immutable import immutable
from pysyncml.protocol.messages import (
    Alert,
    Chal,
    Command,
    Cred,
    Header,
    Item,
    Location,
    Message,
    Meta,
    Status,
    Sync,
)
from pysyncml.protocol.quirks import Quirks
from pysyncml.protocol.stages import Stage, has_floor, is_legal


@immutable()
class Sent:
    """What we remember of a command until its Status comes.

    ``store`` is our datastore's URI, ``item`` our id of the item, ``seq`` the version of it that
    was sent; ``deleted`` whether the version was its end, ``digest`` its fingerprint.
    """

    command: str
    store: str = ''
    item: str = ''
    seq: int = 0
    deleted: bool = False
    digest: str | None = None
    more: bool = False  # it was not the last part of its item
    partial: bool = False  # it had only some of the fields of its item


@immutable()
class Said:
    """A command that is to be said, with what is to be remembered of it and of its children.

    Of a command with several items that is ``each``: what is remembered of an item, by the address
    that a Status repeats of it.
    """

    command: Command
    sent: Sent | None = None
    children: tuple[Said, ...] = ()
    each: tuple[tuple[str, Sent], ...] = ()


#: Stands for a command of which each item may have a Status of its own.
_SEVERAL = Sent('')


@dataclass(slots=True)
class Progress:
    """How far one datastore has come in this session."""

    store: str  # our URI
    peer_store: str  # the peer's URI, as the peer writes it
    binding: int
    number: int = 0  # tells this session from all others of the peer; a resumed one keeps it
    mode: int = 1  # SyncType
    slow: bool = False
    resumed: bool = False  # it goes on where an earlier session was broken off
    refused: bool = False  # the client did not ask for the slow sync there is to be
    early: bool = False  # the peer has sent its changes together with its Alert
    rewound: int | None = None  # the peer was put back: our last change that it can know
    overtaken: bool = False  # the server has come further with a device of our id than we have
    our_last: str | None = None
    our_next: str = ''
    peer_last: str | None = None
    peer_next: str | None = None
    alerted: bool = False  # we have sent our Alert
    agreed: bool = False  # the peer has sent its own
    full: bool = False  # the peer has no room for new items
    failed: int = 0  # the Status that ended this datastore
    opened: bool = False  # our first Sync has been sent
    exhausted: bool = False  # we have sent all our changes
    cursor: int = 0  # the last change we sent
    received: int = 0  # changes the peer sent
    deletions: int = 0
    consent: bool = False  # the peer's user has agreed to unusually many deletions
    counted: int | None = None  # items here when the session began
    unsent: list[str] = field(default_factory=list)  # items that could not be sent just now
    withheld: list[str] = field(default_factory=list)  # items in an open conflict
    mapped: list[str] = field(default_factory=list)  # items whose Map pair is on its way
    parcel: dict[str, Any] | None = None  # the item we are sending in parts
    partial: int = 0  # items of which we sent some fields, and have no answer yet
    wanted_whole: list[str] = field(default_factory=list)  # those that were not enough
    incomplete: bool = False  # before it went on here, not everything could be taken
    ahead: list[str] = field(default_factory=list)  # folders told before it was their turn
    rivals: list[str] = field(default_factory=list)  # more of the peer's URIs, which were refused
    filter: list[str] | None = None  # what the client wants: the query, and the kind of filter
    stats: dict[str, Any] = field(default_factory=dict)

    @property
    def live(self) -> bool:
        """Whether this datastore still takes part."""
        return not self.failed


class Session:
    """One side of a conversation between a client and a server."""

    def __init__(
        self,
        role: Role,
        session_id: str,
        *,
        local: Location,
        remote: Location,
        version: str = '1.2',
        encoding: str = 'xml',
        cred: Cred | None = None,
        max_msg_size: int | None = None,
        max_obj_size: int | None = None,
    ) -> None:
        self.role = role
        self.session_id = session_id
        self.local = local
        self.remote = remote
        self.version = version
        self.encoding = encoding  # the name of the codec
        self.cred = cred
        self.user_name: str | None = None  # goes with digests, which do not tell it
        self.challenge: Chal | None = None  # goes with our next Status for a header
        self.verified = False  # a client: the server has proved who it is
        self.creds: dict[str, Cred] = {}  # what goes with the Alerts, by URI of our datastores
        self.max_msg_size = max_msg_size
        self.max_obj_size = max_obj_size
        self.resp_uri: str | None = None
        self.ours = Stage.SETUP
        self.theirs = Stage.SETUP
        self.msg_id = 0  # the last message we sent
        self.peer_msg_id = ''  # the last message we received
        self.peer_max_msg_size: int | None = None
        self.peer_max_obj_size: int | None = None
        self.number = 0  # tells this session from all others of the same peer
        self.authenticated = False
        self.trusted = True  # a server: later messages need no credentials
        self.identified = False  # we have told who we are; a server: has asked who the peer is
        self.introducing = False  # the peer has sent its own, in a package before the first
        self.quirks = Quirks()  # what is different with this peer
        self.aborted = 0
        self.suspended = False  # one side has asked to go on another time
        self.concluded = False  # all that was to be agreed on is agreed on: the anchors have moved
        self.idle = 0  # how many messages in a row had nothing to say
        self.busy = 0  # how often the server has put us off
        self.unsaid: list[Said] = []  # answers that had no room in our last message
        self.awaiting: dict[str, Sent] = {}
        self.datastores: dict[str, Progress] = {}

    # --- listening ----------------------------------------------------------------------------

    def receive(self, message: Message) -> Iterator[tuple[Command, Sent | None]]:
        """Yield each command of *message*, a Status with what it answers.

        What may not be said at this stage comes as :class:`Refused`, to be answered with the
        Status it names.

        Raises:
            RemoteProtocolError: the message does not belong to this session.
        """
        header = message.header
        if header.session_id != self.session_id:
            raise RemoteProtocolError(
                f'the answer belongs to session "{header.session_id}", not "{self.session_id}"'
            )
        if header.version != self.version:
            raise RemoteProtocolError(
                f'the peer changed from SyncML {self.version} to {header.version}',
                StatusCode.PROTOCOL_VERSION_NOT_SUPPORTED,
            )
        known = self.peer_max_msg_size if self.peer_msg_id else None  # holds for one session
        self.peer_msg_id = header.msg_id
        self.peer_max_msg_size = header.max_msg_size or known
        self.peer_max_obj_size = header.max_obj_size or self.peer_max_obj_size
        if self.role is Role.CLIENT and header.resp_uri:
            self.resp_uri = header.resp_uri
        for command in message.commands:
            if isinstance(command, Status):
                for sent in self._answered(command):
                    yield command, sent
            elif is_legal(self.role.other, self.theirs, command.name):
                yield command, None
            else:
                yield Refused(command=command, status=StatusCode.COMMAND_NOT_ALLOWED), None
        self.introducing = self._is_introduction(message)
        if message.final and not self.introducing:
            self._end_stage()

    def _answered(self, status: Status) -> list[Sent | None]:
        """Return what *status* answers: a command, some of its items, or all (DataSyncRep, Status).

        Each is answered once.
        """
        key = f'{status.msg_ref}/{status.cmd_ref}'
        sent = self.awaiting.pop(key, None)
        if sent != _SEVERAL:
            return [sent]
        keys = [f'{key}/{ref}' for ref in status.source_refs or status.target_refs]
        if keys:
            self.awaiting[key] = sent  # the others have a Status of their own
        found = [self.awaiting.pop(one, None) for one in keys or self._items_of(key)]
        return [one for one in found if one is not None] or [None]

    def _items_of(self, key: str) -> list[str]:
        return [one for one in self.awaiting if one.startswith(f'{key}/')]

    def _is_introduction(self, message: Message) -> bool:
        """Whether a client has ended a package of its own that is about device information.

        Some have one before the first; it counts as none.
        """
        if self.role is Role.CLIENT or self.theirs is not Stage.SETUP or not message.final:
            return False
        said = {command.name for command in message.commands}
        return 'Put' in said and said <= {'Put', 'Get', 'Status', 'Results'}

    def _end_stage(self) -> None:
        """The peer has ended its package; some say so too often, which means nothing."""
        if not has_floor(self.role.other, self.theirs, self.ours):
            return
        # changes that came with the Alerts end two stages at once (OMA-DS-Protocol 1.2, §5.9)
        live = [progress for progress in self.datastores.values() if progress.live]
        early = self.theirs is Stage.SETUP and live and all(each.early for each in live)
        self.theirs = self.theirs.following.following if early else self.theirs.following

    def status_of_header(self, message: Message, code: int, **extra: Any) -> Said:
        """Return the Status for the header of *message*; it comes first in our answer."""
        header = message.header
        return Said(
            Status(
                msg_ref=header.msg_id,
                cmd_ref='0',
                cmd='SyncHdr',
                target_refs=(header.target.uri,),
                source_refs=(header.source.uri,),
                code=code,
                **extra,
            )
        )

    def status_of(
        self,
        command: Command,
        code: int,
        *,
        items: tuple[Item, ...] = (),
        target: str | None = None,
        source: str | None = None,
        chal: Chal | None = None,
    ) -> list[Said]:
        """Return the Status for *command* of the message received last, unless it wants none.

        *target* and *source* are the addresses the Status repeats.
        """
        answer = self.quirks.status(command.name, code)
        if command.no_resp or answer is None:
            return []
        status = Status(
            msg_ref=self.peer_msg_id,
            cmd_ref=command.cmd_id,
            cmd=command.name,
            target_refs=(target,) if target is not None else (),
            source_refs=(source,) if source is not None else (),
            chal=chal,
            code=answer,
            items=items,
        )
        return [Said(status)]

    # --- speaking -----------------------------------------------------------------------------

    @property
    def has_floor(self) -> bool:
        """Whether it is our turn to speak of our stage."""
        return has_floor(self.role, self.ours, self.theirs)

    @property
    def has_floor_after(self) -> bool:
        """Whether it is our turn to speak of the stage after ours, too.

        So it is for a server whose client has sent its changes together with its Alerts.
        """
        return self.ours < Stage.MAP and has_floor(self.role, self.ours.following, self.theirs)

    @property
    def done(self) -> bool:
        """Whether everything has been said, or the session was given up or put off."""
        over = self.ours is self.theirs is Stage.DONE
        return bool(self.aborted) or self.suspended or over

    def send(self, saids: Sequence[Said], *, final: bool, awaiting: int | None = None) -> Message:
        """Return the next message, with ids given to its commands and remembered.

        Of what was said before, no more than *awaiting* is waited for any longer.

        Raises:
            LocalProtocolError: we were about to say what may not be said now.
        """
        self.msg_id += 1
        ids = _Counter()
        if awaiting is not None:
            for key in list(self.awaiting)[: max(0, len(self.awaiting) - awaiting)]:
                del self.awaiting[key]
        commands = tuple(self._number(said, ids) for said in saids)
        if final and not self.introducing:
            self.ours = self.ours.following
        return Message(header=self._header(self.msg_id), commands=commands, final=final)

    def repeat(self, message: Message, inbound: Message) -> Message:
        """Return what *message*, our last one, says, as a new message.

        *inbound* asked for credentials; its header gets its Status first (DS-Protocol 1.2, §5.4).
        """
        saids = [self._again(command, message.header.msg_id) for command in message.commands]
        saids.insert(0, self.status_of_header(inbound, StatusCode.OK))
        self.resp_uri = (self.role is Role.CLIENT and inbound.header.resp_uri) or self.resp_uri
        self.msg_id += 1
        ids = _Counter()
        # what was legal then need not be so at the stage it has led to
        commands = tuple(self._number(said, ids, checked=True) for said in saids)
        return Message(header=self._header(self.msg_id), commands=commands, final=message.final)

    def _again(self, command: Command, msg_id: str) -> Said:
        """Return *command* of the message *msg_id* as something that is still to be said."""
        key = f'{msg_id}/{command.cmd_id}'
        sent = self.awaiting.pop(key, None)
        each = self._items_of(key) if sent == _SEVERAL else []
        children = command.commands if isinstance(command, Sync) else ()
        return Said(
            command,
            sent,
            tuple(self._again(child, msg_id) for child in children),
            tuple((one.removeprefix(f'{key}/'), self.awaiting.pop(one)) for one in each),
        )

    def _number(self, said: Said, ids: _Counter, *, checked: bool = False) -> Command:
        if not checked and not is_legal(self.role, self.ours, said.command.name):
            raise LocalProtocolError(
                f'a {self.role.value} may not say {said.command.name} at stage {self.ours.name}'
            )
        cmd_id = ids.next()
        key = f'{self.msg_id}/{cmd_id}'
        if said.sent is not None:
            self.awaiting[key] = said.sent
        for ref, sent in said.each:
            self.awaiting[key] = _SEVERAL
            self.awaiting[f'{key}/{ref}'] = sent
        if isinstance(said.command, Sync):
            children = tuple(self._number(child, ids, checked=True) for child in said.children)
            return replace(said.command, cmd_id=cmd_id, commands=children)
        return replace(said.command, cmd_id=cmd_id)

    def _header(self, msg_id: int) -> Header:
        meta = None
        name = None if self.authenticated else self.user_name
        if self.max_msg_size or self.max_obj_size:
            meta = Meta(max_msg_size=self.max_msg_size, max_obj_size=self.max_obj_size)
        return Header(
            version=self.version,
            dtd_version=self.version,
            session_id=self.session_id,
            msg_id=str(msg_id),
            target=self.remote,
            source=self.local if name is None else replace(self.local, name=name),
            resp_uri=self.resp_uri if self.role is Role.SERVER else None,
            cred=None if self.authenticated else self.cred,
            meta=meta,
        )

    def envelope(self) -> Message:
        """Return our next message without its commands."""
        return Message(header=self._header(self.msg_id + 1), final=True)

    def alert(self, code: AlertCode) -> Said:
        """Return an Alert about the session itself: go on (222), suspend (224), again (221)."""
        item = Item(target=Location(self.remote.uri), source=Location(self.local.uri))
        return Said(Alert(code=code, items=(item,)))

    # --- between two messages -----------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return all there is to this session as values that JSON can carry.

        Credentials are left out: they are not needed again, and must not be kept; so are the
        answers that are still to be given (``unsaid``): who keeps them writes them as a message.
        """
        state = {name: getattr(self, name) for name in _PLAIN}
        state['role'] = self.role.value
        state['local'] = [self.local.uri, self.local.name]
        state['remote'] = [self.remote.uri, self.remote.name]
        state['ours'], state['theirs'] = int(self.ours), int(self.theirs)
        state['awaiting'] = {
            key: [getattr(sent, name) for name in _SENT] for key, sent in self.awaiting.items()
        }
        state['datastores'] = [asdict(progress) for progress in self.datastores.values()]
        return state

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Session:
        """Return the session that *state*, made by :meth:`snapshot`, describes."""
        session = cls(
            Role(state['role']),
            state['session_id'],
            local=Location(*state['local']),
            remote=Location(*state['remote']),
        )
        for name in _PLAIN:
            if name in state:  # an older version of the program did not know all of them
                setattr(session, name, state[name])
        session.ours, session.theirs = Stage(state['ours']), Stage(state['theirs'])
        session.awaiting = {key: Sent(*values) for key, values in state['awaiting'].items()}
        session.datastores = {values['store']: Progress(**values) for values in state['datastores']}
        return session


@immutable(kw_only=True)
class Refused(Command):
    """A command of the peer's that may not be said now."""

    name = 'Refused'
    command: Command
    status: int


class _Counter:
    """Command ids: they start at 1 in each message, as 0 means its header."""

    def __init__(self) -> None:
        self.value = 0

    def next(self) -> str:
        self.value += 1
        return str(self.value)


_SENT = tuple(field.name for field in fields(Sent))
_PLAIN = (
    'session_id',
    'version',
    'encoding',
    'max_msg_size',
    'max_obj_size',
    'resp_uri',
    'msg_id',
    'peer_msg_id',
    'peer_max_msg_size',
    'peer_max_obj_size',
    'number',
    'authenticated',
    'trusted',
    'identified',
    'aborted',
    'suspended',
    'concluded',
    'idle',
)
