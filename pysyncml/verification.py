"""Both sides compared by checksum, as the client of a server leads it.

What travels is described in :mod:`pysyncml.sync.verifying`. Only when all pages are there is
anything remembered of what differs, and on this side alone: breaking off does no harm.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from pysyncml.constants import AlertCode, StatusCode
from pysyncml.conversation import open_session, poster
from pysyncml.errors import (
    CannotCompare,
    InvalidCredentials,
    MissingCredentials,
    RefusedError,
    RemoteProtocolError,
    TransportError,
)
from pysyncml.immutable import immutable
from pysyncml.negotiation import BeginAgain, Negotiation, Post
from pysyncml.protocol.limits import Limits
from pysyncml.protocol.messages import Command, Message, Results, Status
from pysyncml.protocol.session import Said, Session
from pysyncml.state.knowledge import NEVER_WAS
from pysyncml.state.records import BindingRecord, StoreRecord
from pysyncml.state.work import UnitOfWork
from pysyncml.sync.pairing import find_uri
from pysyncml.sync.settle import explain
from pysyncml.sync.verifying import TYPE, Entry, Mark, Page, look, question, read_page
from pysyncml.transport import Transport

if TYPE_CHECKING:
    from pysyncml.adapter import Adapter, Store
    from pysyncml.peer import Peer

log = logging.getLogger(__name__)

_PATIENCE = 20  # messages in which a server may owe us what it has promised
_MOST = 5_000_000  # items a server may list
_MOST_CHARACTERS = 1 << 29  # of all that a server lists
_PAGE = 500


class Kind(Enum):
    """In which way an item differs."""

    ONLY_HERE = 'only here'
    ONLY_THERE = 'only there'
    CONTENT = 'different content'
    NAME = 'different name'
    BOTH = 'different name and content'
    UNPAIRED = 'here and there, but not known to be one'


@immutable()
class Difference:
    """One item that differs: our id of it, and its names, as far as there are any."""

    kind: Kind
    item_id: str | None
    here: str | None = None
    there: str | None = None

    def values(self) -> dict[str, Any]:
        """Return all of it as values that JSON can carry."""
        kind = self.kind.name.lower().replace('_', '-')
        return {'kind': kind, 'id': self.item_id, 'here': self.here, 'there': self.there}


@dataclass(slots=True)
class Verification:
    """What a comparison of one datastore has come to.

    ``equal`` items are the same on both sides, ``waiting`` ones have changes that the next
    synchronisation tells. ``problems`` has a line for each item that could not be compared.
    """

    equal: int = 0
    waiting: int = 0
    differences: list[Difference] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def values(self) -> dict[str, Any]:
        """Return all of it as values that JSON can carry."""
        return {
            'equal': self.equal,
            'waiting': self.waiting,
            'differences': [difference.values() for difference in self.differences],
            'problems': list(self.problems),
        }


def verify(adapter: Adapter, peer: Peer, transport: Transport) -> dict[str, Verification]:
    """Compare all datastores with those of *peer*; see :meth:`Adapter.verify`."""
    negotiation = Negotiation(adapter, peer)
    while True:
        try:
            return _verify(adapter, peer, transport, negotiation)
        except BeginAgain:
            log.info('beginning again, with SyncML %s', negotiation.version)


def _verify(
    adapter: Adapter, peer: Peer, transport: Transport, negotiation: Negotiation
) -> dict[str, Verification]:
    with adapter.context.work() as work:
        comparisons = list(_comparisons(adapter, peer, work))
    if not comparisons:
        raise RefusedError(
            'there is nothing to compare yet: synchronise first, which compares what there is'
        )
    session = open_session(adapter, peer)
    negotiation.begin(session)
    post = poster(adapter, peer, session, transport)
    talk = _Talk(session, negotiation, post, adapter.limits)
    for comparison in comparisons:
        after: str | None = ''
        while after is not None:
            cred = session.creds.get(comparison.store.uri)
            said = question(comparison.peer_uri, comparison.store.uri, after, cred=cred)
            page = talk.ask(said)
            with adapter.context.work() as work:
                comparison.take(page, work)
            after = page.after
            if adapter.onProgress is not None:
                adapter.onProgress(0, len(comparison.listed))
    talk.end()
    with adapter.context.work() as work:
        for comparison in comparisons:
            comparison.conclude(work)
    return {comparison.store.uri: comparison.result for comparison in comparisons}


def _comparisons(adapter: Adapter, peer: Peer, work: UnitOfWork) -> Iterator[_Comparison]:
    """Yield what there is to compare: the datastores that have been synchronised with *peer*."""
    records = work.records
    for theirs in records.find(StoreRecord, device_id=peer.record.id):
        for record in records.find(BindingRecord, peer_store_id=theirs.id):
            for store in adapter.stores.values():
                route = adapter.routes.get(store.uri)
                fits = route is None or find_uri(route, [theirs.uri]) is not None
                if store.record.id == record.store_id and record.last_sync is not None and fits:
                    yield _Comparison(store, record, theirs.uri)


# --- talking ------------------------------------------------------------------------------------


class _Talk:
    """The messages of a session that never gets beyond its first stage."""

    def __init__(
        self, session: Session, negotiation: Negotiation, post: Post, limits: Limits
    ) -> None:
        self.session = session
        self.limits = limits
        self.negotiation = negotiation
        self.post = post
        self.owed: list[Said] = []  # our answers to what the server said last

    def ask(self, said: Said) -> Page:
        """Say *said*, and return the page that is the answer."""
        accepted = False
        saids = [*self.owed, said]
        for _ in range(_PATIENCE):
            inbound, answers = self._exchange(saids, final=False)
            for command in inbound:
                if isinstance(command, Results):
                    return _page_of(command)
                if isinstance(command, Status) and answers.get(id(command)) == 'Get':
                    self._check(command)
                    accepted = True
            if not accepted:
                break
            saids = [*self.owed, self.session.alert(AlertCode.NEXT_MESSAGE)]
        raise CannotCompare('this server cannot compare by checksum')

    def end(self) -> None:
        """End the session as one should; it does not matter if the server is gone."""
        with contextlib.suppress(TransportError, RemoteProtocolError):
            for _ in range(2):
                self._exchange(self.owed, final=True)

    def _exchange(self, saids: list[Said], *, final: bool) -> tuple[list[Command], dict[int, str]]:
        """Send *saids*; return what came back, and which command each Status in it answers."""
        session = self.session
        message = session.send(saids, final=final)
        self.limits.check_length(session.msg_id)
        inbound = self.negotiation.exchange(session, message, self.post)
        self.limits.check_message(inbound)
        _check_header(inbound)
        found: list[Command] = []
        answers: dict[int, str] = {}
        owed = [session.status_of_header(inbound, StatusCode.OK)]
        for command, sent in session.receive(inbound):
            found.append(command)
            if isinstance(command, Status):
                answers[id(command)] = sent.command if sent is not None else ''
                continue
            going_on = getattr(command, 'code', None) == AlertCode.NEXT_MESSAGE
            wanted = going_on or isinstance(command, Results)
            code = StatusCode.OK if wanted else StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED
            owed += session.status_of(command, code)
        self.owed = owed
        return found, answers

    def _check(self, status: Status) -> None:
        if status.code in (StatusCode.INVALID_CREDENTIALS, StatusCode.MISSING_CREDENTIALS):
            raise InvalidCredentials('the server does not open this datastore to this user')
        if status.code >= 300:
            raise CannotCompare(
                f'this server cannot compare by checksum (it answered with status {status.code})'
            )


def _page_of(results: Results) -> Page:
    item = results.items[0] if results.items else None
    meta = (item.meta if item else None) or results.meta
    if item is None or meta is None or meta.type != TYPE:
        raise CannotCompare('this server cannot compare by checksum')
    page = read_page(item.data)
    if not page.bound:
        raise RefusedError(
            'the server has not synchronised with this device yet, or knows nothing of it any '
            'more: synchronise, which compares what there is'
        )
    return page


def _check_header(inbound: Message) -> None:
    for command in inbound.commands:
        if not isinstance(command, Status) or command.cmd_ref != '0':
            continue
        match command.code:
            case StatusCode.MISSING_CREDENTIALS:
                raise MissingCredentials('the server asks for a user name and a password')
            case StatusCode.INVALID_CREDENTIALS:
                raise InvalidCredentials('the server does not accept this user name and password')
            case StatusCode.IN_PROGRESS | StatusCode.RETRY_LATER:
                raise RefusedError('the server is too busy: try again later')
            case code if code >= 300:
                raise RemoteProtocolError(explain(command), code)


# --- comparing ----------------------------------------------------------------------------------


def _length(entry: Entry) -> int:
    return sum(len(text) for text in (entry.luid, entry.name, entry.checksum) if text is not None)


class _Comparison:
    """One of our datastores, compared with what a server lists of its own."""

    def __init__(self, store: Store, record: BindingRecord, peer_uri: str) -> None:
        self.store = store
        self.record = record
        self.peer_uri = peer_uri
        self.result = Verification()
        self.listed: set[str] = set()  # our ids of what the server has listed
        self.phantoms: set[str] = set()  # ids of which there is nothing but a row
        self._here: list[Entry] = []
        self._there: list[Entry] = []
        self._nameless = 0
        self._total = self._characters = 0

    def _known(self, work: UnitOfWork) -> Any:
        assert self.record.id is not None
        return work.knowledge(self.record.store_id, self.record.id)

    def take(self, page: Page, work: UnitOfWork) -> None:
        """Compare what is on *page*."""
        self._total += len(page.entries)
        self._characters += sum(map(_length, page.entries))
        endless = self._total > _MOST or self._characters > _MOST_CHARACTERS
        if endless or (page.after is not None and not page.entries):
            raise RemoteProtocolError('the other side does not come to an end with its checksums')
        known = self._known(work)
        ids = [entry.luid for entry in page.entries if entry.luid is not None]
        known.prefetch(item_ids=ids)
        self.store.agent.prefetchItems(ids)
        for entry in page.entries:
            if entry.luid is None:
                self._unmapped(entry)
            elif entry.luid in self.listed:
                raise RemoteProtocolError(f'the other side lists "{entry.luid}" twice')
            else:
                self.listed.add(entry.luid)
                self._compare(entry, entry.luid, known)

    def _unmapped(self, entry: Entry) -> None:
        if entry.mark is None:
            self._there.append(entry)
        elif entry.mark is Mark.WAITING:
            self.result.waiting += 1

    def _compare(self, theirs: Entry, item_id: str, known: Any) -> None:
        change, row = known.log.get(item_id), known.of_item(item_id)
        if row is not None and row.soft:
            return
        if theirs.mark is Mark.WAITING and row is not None and row.seq == NEVER_WAS:
            # found by an earlier comparison, and the server has taken notice of it, too
            name = look(self.store.agent, item_id, item_id).name
            self.result.differences.append(Difference(Kind.CONTENT, item_id, name))
            return
        if theirs.mark is Mark.WAITING or (change is not None and self._waits(change, row)):
            self.result.waiting += 1
            return
        if change is not None and change.gone:
            if theirs.mark is None:
                self._there.append(theirs)
            return
        ours = look(self.store.agent, item_id, item_id)
        if self._is_unclear(ours, 'here') or self._is_unclear(theirs, 'there'):
            return
        if ours.mark is Mark.MISSING or theirs.mark is Mark.MISSING:
            self._one_sided(ours, theirs)
        elif change is None:
            self._there.append(theirs)
            self._here.append(ours)
        else:
            self._contrast(ours, theirs, change, row, known)

    def _one_sided(self, ours: Entry, theirs: Entry) -> None:
        if ours.mark is Mark.MISSING and ours.luid is not None:
            self.phantoms.add(ours.luid)
        if ours.mark is None:
            self._here.append(ours)
        elif theirs.mark is None:
            self._there.append(theirs)

    def _contrast(self, ours: Entry, theirs: Entry, change: Any, row: Any, known: Any) -> None:
        assert ours.luid is not None
        named = ours.name is None or theirs.name is None or ours.name == theirs.name
        if ours.checksum == theirs.checksum and named:
            self.result.equal += 1
            if row is None or row.seq != change.seq:
                # the row was wrong, and it has just been shown what is right
                known.note(ours.luid, seq=change.seq, offered=None)
            return
        kind = Kind.CONTENT if named else Kind.NAME
        if not named and ours.checksum != theirs.checksum:
            kind = Kind.BOTH
        self.result.differences.append(Difference(kind, ours.luid, ours.name, theirs.name))

    def _is_unclear(self, entry: Entry, where: str) -> bool:
        """Whether nothing can be said of an item; then it is counted as what it is."""
        if entry.mark is Mark.WAITING:
            self.result.waiting += 1
        elif entry.mark is Mark.UNREADABLE:
            name = self.store.agent.describeItem(entry.luid or '')
            self.result.problems.append(f'{name} cannot be read {where}')
        return entry.mark in (Mark.WAITING, Mark.UNREADABLE, Mark.HIDDEN)

    def _waits(self, change: Any, row: Any) -> bool:
        """Whether the server is still to be told of our newest version, or of our id of it."""
        if row is not None and row.unconfirmed:
            return True
        behind = row is None or row.seq is None or NEVER_WAS < row.seq < change.seq
        return bool(behind and change.seq > self.record.cursor)

    # --- the end --------------------------------------------------------------------------------

    def conclude(self, work: UnitOfWork) -> None:
        """Find what is here alone; have all that differs settled by the next synchronisation."""
        known = self._known(work)
        self._look_for_others(known)
        self._pair_up()
        for item_id in self.phantoms:
            known.forget(item_id)
        known.log.forget(self.phantoms)
        alike = (Kind.CONTENT, Kind.NAME)
        if all(difference.kind in alike for difference in self.result.differences):
            for difference in self.result.differences:
                assert difference.item_id is not None
                known.lose_ancestor(difference.item_id)
                change = known.log.get(difference.item_id)
                self.record.cursor = min(self.record.cursor, change.seq - 1)
        else:
            # which item goes with which is in doubt: both sides are to find out anew
            work.compare_anew(self.record)
        work.records.save(self.record)

    def _look_for_others(self, known: Any) -> None:
        """Look at what the server has not listed."""
        after = ''
        while rows := known.listed(after, _PAGE):
            after = rows[-1].item_id
            rows = [row for row in rows if row.item_id not in self.listed and not row.gone]
            self.store.agent.prefetchItems([row.item_id for row in rows])
            for row in rows:
                if row.waits(self.record.cursor):
                    self.result.waiting += 1
                    continue
                ours = look(self.store.agent, row.item_id, row.item_id)
                if ours.mark is Mark.MISSING:
                    self.phantoms.add(row.item_id)
                elif not self._is_unclear(ours, 'here'):
                    self._here.append(ours)

    def _pair_up(self) -> None:
        """Report what is on one side alone, and what both have without knowing it."""
        there = {entry.name: entry for entry in self._there if entry.name is not None}
        add = self.result.differences.append
        for ours in self._here:
            theirs = there.pop(ours.name, None) if ours.name is not None else None
            if theirs is None:
                add(Difference(Kind.ONLY_HERE, ours.luid, ours.name))
                continue
            kind = Kind.UNPAIRED if ours.checksum == theirs.checksum else Kind.CONTENT
            add(Difference(kind, ours.luid, ours.name, theirs.name))
        nameless = [entry for entry in self._there if entry.name is None]
        for entry in (*there.values(), *nameless):
            add(Difference(Kind.ONLY_THERE, entry.luid, None, entry.name))
