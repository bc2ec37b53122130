"""One item from the peer: look at the situation, decide, do it, remember it."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from pysyncml.agents.base import Agent
from pysyncml.constants import ItemState, Policy, Role, StatusCode
from pysyncml.errors import (
    ConflictError,
    InvalidContent,
    InvalidItem,
    ItemNotEmpty,
    StateDamaged,
    StoreFull,
    SyncmlError,
    is_of_database,
)
from pysyncml.protocol.messages import Add, Command, Delete, Item, ItemsCommand, Replace
from pysyncml.state.changes import Change
from pysyncml.state.knowledge import Known
from pysyncml.sync.hierarchy import place
from pysyncml.sync.large_objects import UNRELATED
from pysyncml.sync.parties import Binding
from pysyncml.sync.reconcile import Here, Situation, Verdict, reconcile

log = logging.getLogger(__name__)

#: Fewer deletions than this never raise a question.
FREE_DELETIONS = 10

Answer = tuple[int, str]


def receive_item(binding: Binding, command: Add | Replace | Delete, item: Item) -> Answer:
    """Do what *command* asks with one *item*; return the Status code and a line that explains it.

    Nothing passes: whatever goes wrong costs this item its Status, and the others go on.
    """
    return take(binding, item, lambda: Incoming(binding, command, item).receive())


def read_ahead(binding: Binding, commands: Iterable[Command]) -> None:
    """Read the items of *commands*; in a slow sync, let the agent look for the like of new ones.

    It takes less to do one thing with all of them than all with one after the other; and when the
    peer sends everything, the agent is asked for all of them at once. What cannot be read is left
    for its turn, when it gets its Status.
    """
    ahead = binding.read_ahead
    ahead.clear()
    if type(binding.agent).prefetch_matches is Agent.prefetch_matches:
        return
    slow = binding.progress.slow or binding.mode.slow
    unknown = []
    for command in commands:
        if not isinstance(command, Add | Replace):
            continue
        for item in command.items:
            if item.more_data or not isinstance(item.data, bytes):
                continue
            with contextlib.suppress(Exception):
                ahead[id(item)] = loaded = _load(binding, command, item)
                if slow and _is_new(binding, item):
                    unknown.append(loaded)
    if unknown:
        binding.known.prefetch(item_ids=[*map(str, binding.agent.prefetch_matches(unknown))])


def _is_new(binding: Binding, item: Item) -> bool:
    """Whether nothing is known of an item by the id that the peer gives it."""
    if binding.role is Role.CLIENT and item.target_uri is not None:
        return False
    remote_id = item.source_uri if item.source_uri is not None else item.target_uri
    return bool(remote_id) and binding.known.of_remote(remote_id or '') is None


def is_partial(command: ItemsCommand, item: Item) -> bool:
    """Return whether only some fields of *item* have come."""
    above, own = command.meta, item.meta
    return (above is not None and above.field_level) or (own is not None and own.field_level)


def _load(binding: Binding, command: ItemsCommand, item: Item) -> Any:
    """Return the item of our agent's that the data of *item* hold."""
    meta = item.meta or command.meta
    data = item.data
    if data is None:
        data = b''
    if not isinstance(data, bytes | io.BufferedReader):
        raise InvalidContent('the item has no data that can be stored')
    if meta is not None and meta.format == 'b64':
        raise InvalidContent('the data are not valid base64')
    ctype = (meta.type if meta else None) or _default_type(binding)
    plain_type = ctype.partition(';')[0].strip()
    if not isinstance(data, bytes):
        if binding.agent.reads_in_pieces(plain_type):
            return binding.agent.loadItem(data, plain_type, None)
        data = data.read()
    data = binding.parties.session.quirks.as_utf8(data, ctype)
    return binding.agent.loadsItem(data, plain_type, None)


def _default_type(binding: Binding) -> str:
    types = binding.store.contentTypes
    return next((info for info in types if info.preferred), types[0]).ctype


def take(binding: Binding, item: Item, action: Callable[[], int]) -> Answer:
    """Return what comes of *action*, which is what a command asks with one *item*."""
    binding.progress.received += 1
    status, text = attempt(binding, action)
    if text:
        binding.not_taken(item.source_uri or item.target_uri, text)
    return status, text


def attempt(binding: Binding, action: Callable[[], int]) -> Answer:
    """Return the Status code of *action*, and a line about what went wrong, if anything did."""
    try:
        with binding.savepoint():
            return action(), ''
    except StateDamaged:
        raise
    except SyncmlError as error:
        return error.status, str(error) or type(error).__name__
    except LookupError as error:
        return StatusCode.NOT_FOUND, f'there is no such item: {error}'
    except OSError as error:
        status = _FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else _FAILED
        return status, error.strerror or 'the system refused'
    except Exception as error:
        if is_of_database(error):
            raise  # nothing more can be done in this transaction
        log.exception('an item of the peer could not be dealt with')
        return _FAILED, 'an internal error; the log says more'


_FAILED = StatusCode.COMMAND_FAILED
_FULL = StoreFull.status


class Incoming:
    """One item on its way in."""

    def __init__(self, binding: Binding, command: ItemsCommand, item: Item) -> None:
        self.binding = binding
        self.command = command
        self.item = item
        self.agent = binding.agent
        self.number = binding.number
        self.role = binding.role
        self.log, self.knowledge = binding.log, binding.known
        self.known = self._find()
        self.change: Change | None = (
            self.log.get(self.known.item_id) if self.known is not None else None
        )
        self.match: Any = None
        self.loaded: Any = None
        self.digest: str | None = None

    # --- looking ------------------------------------------------------------------------------

    def _find(self) -> Known | None:
        """Return what the peer knows of the item it means, if we know which one that is.

        A client's items go by its own ids (LUID), a server's by ours when they have one
        (OMA-DS-Protocol 1.2, §5.3).
        """
        known = self.knowledge
        source, target = self.item.source_uri, self.item.target_uri
        if self.role is Role.SERVER:
            remote = source if source is not None else target
            self.remote_id = remote or ''
            if not self.remote_id:
                raise InvalidContent('the item has no id')
            return known.of_remote(self.remote_id)
        self.remote_id = source or ''
        if target is not None:
            row = known.of_item(target)
            if row is None and self.log.get(target) is not None:
                row = Known(target)
            return row
        return known.of_remote(self.remote_id) if self.remote_id else None

    @property
    def here(self) -> Here:
        """What has happened to our item since the peer last looked."""
        known, change = self.known, self.change
        if known is None or change is None:
            return Here.UNKNOWN
        if change.gone:
            return Here.DELETED
        if self.is_up_to_date(known, change):
            return Here.UNCHANGED
        # what an agent had to alter is no change that anybody has wished for
        since = known.offered if known.seq is None else known.seq
        altered = self.log.way_back(known.item_id, since) == ''
        return Here.UNCHANGED if altered else Here.CHANGED

    @staticmethod
    def is_up_to_date(known: Known, change: Change) -> bool:
        """Return whether the peer has our newest version."""
        if known.seq is None:
            return known.offered == change.seq  # it was not acknowledged, yet it speaks of it
        return known.seq >= change.seq

    @property
    def slow(self) -> bool:
        """Whether the sender sends everything, so that unknown ids may be known items."""
        return self.binding.progress.slow or self.binding.mode.slow

    # --- deciding -----------------------------------------------------------------------------

    def receive(self) -> int:
        """Decide and do; return the Status code."""
        if self.known is not None and self.known.soft:
            self._recall(self.known)
        if self.known is not None and self._is_unrelated():
            self._part_ways(self.known)
        if isinstance(self.command, Delete):
            verdict, status = reconcile(self._situation())
        elif self._is_astray():
            return StatusCode.NOT_FOUND
        else:
            self.loaded = self.binding.read_ahead.pop(id(self.item), None)
            if self.loaded is None:
                self.loaded = _load(self.binding, self.command, self.item)
            place(self.binding, self.loaded, self.item, self.known.item_id if self.known else None)
            if not self._complete():
                return StatusCode.NOT_FOUND
            self.digest = self.agent.fingerprint(self.loaded)
            self._recognise()
            verdict, status = reconcile(self._situation())
            if verdict is Verdict.MERGE:
                if self._merge():
                    return status
                verdict, status = reconcile(self._situation(merged=True))
                self._count_conflict(verdict)
        return _ACTIONS[verdict](self, status) or status

    def _is_astray(self) -> bool:
        """Whether a server speaks of an item by our id alone, and it is not here.

        Stored as a new item it would have an id that the server cannot learn of: told that it is
        not here, the server sends it again as an Add (OMA-DS-Protocol 1.2, §5.3).
        """
        ours = self.role is Role.CLIENT and not self.remote_id
        return ours and self.here in (Here.UNKNOWN, Here.DELETED)

    def _recognise(self) -> None:
        """A server that could not be shown an item sends its version of it as a new one."""
        if self.known is not None or self.role is Role.SERVER or not self.slow:
            return
        for item_id in self.binding.progress.unsent:
            known = self.knowledge.of_item(item_id)
            if known is not None and known.digest == self.digest and known.seen != self.number:
                self.known, self.change = known, self.log.get(item_id)
                return

    def _complete(self) -> bool:
        """Add the other fields, if only some have come (OMA-SyncML-MetaInfo 1.2, FieldLevel).

        Returns:
            Whether that can be done; else the peer is to send the whole.
        """
        if not is_partial(self.command, self.item):
            return True
        if self.known is None or self.here in (Here.UNKNOWN, Here.DELETED):
            return False
        try:
            self.loaded = self.agent.completeItem(self.known.item_id, self.loaded)
        except InvalidItem:
            return False
        return True

    def _recall(self, known: Known) -> None:
        """The peer is to hear of an item again, though that was no business of its for a while."""
        record = self.binding.record
        newest = self.change.seq - 1 if self.change is not None else record.cursor
        record.cursor = min(record.cursor, newest)
        self.binding.parties.work.records.save(record)
        self.knowledge.note(known.item_id, offered=None)

    def _is_unrelated(self) -> bool:
        """Whether a client says that what comes is no descendant of the version here."""
        if self.role is Role.CLIENT or self.binding.wipes:
            return False
        metas = (self.command.meta, self.item.meta)
        return any(meta is not None and UNRELATED in meta.emi for meta in metas)

    def _part_ways(self, known: Known) -> None:
        """Take both versions for changed since the peer last looked: neither is the older one."""
        if self.here in (Here.UNCHANGED, Here.CHANGED):
            self._recall(known)
            self.knowledge.lose_ancestor(known.item_id)

    def _situation(self, *, merged: bool = False) -> Situation:
        if self.known is None and not self.slow:  # then nothing else can be said
            return Situation(command=self.command.name, here=Here.UNKNOWN, role=self.role)
        stale = self._is_stale()
        self._doubt()
        here = self.here
        policy = Policy(self.binding.store.record.policy or self.binding.parties.policy)
        equal = twin = near = False
        if self.loaded is not None and here in (Here.UNCHANGED, Here.CHANGED):
            assert self.known is not None
            equal = self.agent.isSameItem(self.known.item_id, self.loaded)
        elif self.loaded is not None and here is Here.UNKNOWN and self.slow:
            twin, near = self._look_for_match()
        return Situation(
            command=self.command.name,
            here=here,
            role=self.role,
            policy=policy,
            equal=equal,
            stale=stale,
            twin=twin,
            near=near,
            merged=merged,
            wipes=self.binding.wipes,
            newer=policy is not Policy.NEWEST_WINS or self._is_newer(),
        )

    def _is_stale(self) -> bool:
        """Whether the peer shows the version it was known to have (or one that lost before)."""
        known = self.known
        if known is None or known.digest is None:
            return False
        return known.digest == self.digest or (self._is_ahead(known) and known.had(self.digest))

    def _is_ahead(self, known: Known) -> bool:
        """Whether the peer was put back to when it did not have the version it is known to have."""
        rewound = self.binding.progress.rewound
        return rewound is not None and known.seq is not None and known.seq > rewound

    def _doubt(self) -> None:
        """The peer does not have a version that it shows itself to have lost."""
        known = self.known
        if known is None or self.binding.wipes or known.digest == self.digest:
            return
        if self._is_ahead(known):
            self.knowledge.note(known.item_id, seq=0)

    def _look_for_match(self) -> tuple[bool, bool]:
        if self.match is None:
            matches = self.agent.matchItems(self.loaded)
            self.match = next((m for m in matches if self._is_free(str(m.id))), None)
            if self.match is None:
                return False, False
        same = self.agent.isSameItem(str(self.match.id), self.loaded)
        return same, not same

    def _is_free(self, item_id: str) -> bool:
        """Whether no other item of the peer's goes with ours."""
        known = self.knowledge.of_item(item_id)
        if known is None or known.soft:
            return True
        if self.binding.wipes:
            return known.seen != self.number  # the old pairs do not count any more
        if self.role is Role.SERVER:
            # a device whose state is older than it was may know an item by a new id: it will
            # not show the old one, and if it does, that is taken for a new item
            return known.remote_id is None or (
                known.seen != self.number and self.agent.isSameItem(item_id, self.loaded)
            )
        if item_id in self.binding.progress.unsent:
            # so the server could not see that it has it, and sends it as a new one
            return self.agent.isSameItem(item_id, self.loaded)
        return known.seq is None and known.remote_id is None

    def _is_newer(self) -> bool:
        """Whether the incoming version is younger; without a time it counts as made just now."""
        theirs = getattr(self.loaded, 'modified', None)
        if theirs is None or self.known is None or self.here is Here.DELETED:
            return True
        ours = self.agent.modifiedTime(self.known.item_id)
        return ours is None or float(theirs) >= ours

    # --- doing --------------------------------------------------------------------------------

    def _add(self, _status: int) -> int | None:
        before = _shown(self.loaded)
        added = self.agent.addItem(self.loaded)
        item_id = str(added.id)
        self.knowledge.expect_new(item_id)
        history = self.binding.store.keepsHistory
        seq = self.log.record(item_id, ItemState.ADDED, None, history=history)
        self._remember(item_id, seq)
        self._report_alteration(item_id, before, added)
        self.binding.stats.hereAdd += 1
        return None

    def _replace(self, _status: int) -> int | None:
        item_id = str(self.match.id) if self.known is None else self.known.item_id
        seq = self._store(item_id)
        self._remember(item_id, seq)
        self._report_alteration(item_id, self._before, self.loaded)
        self.binding.stats.hereMod += 1
        return None

    def _store(self, item_id: str) -> int:
        """Put the loaded item in the place of ours; return the number of the new version."""
        history = self.binding.store.keepsHistory
        self._before = _shown(self.loaded)
        self.loaded.id = item_id
        finds_out = history and self.agent.mfactory is not None and not self.agent.reportsChanges
        old = dict(self.agent.getItem(item_id).values()) if finds_out else None
        new = dict(self.loaded.values()) if old is not None else None
        spec = self.agent.replaceItem(self.loaded, history)
        if spec is None and old is not None and new is not None:
            spec = self.agent.newChangeSpec(old, new)
        return self.log.record(item_id, ItemState.MODIFIED, spec, history=history)

    def _report_alteration(self, item_id: str, before: dict[str, Any], stored: Any) -> None:
        """If the agent had to change something (a name), the peer is to hear of it.

        Nobody has wished for that: what the peer wants instead is no conflict with it.
        """
        for name, value in before.items():
            now = getattr(stored, name, None)
            if now is not None and now != value:
                history = self.binding.store.keepsHistory
                self.log.record(item_id, ItemState.MODIFIED, '', history=history)
                return

    def _link(self, _status: int) -> int | None:
        item_id = str(self.match.id) if self.known is None else self.known.item_id
        change = self.log.get(item_id)
        if change is None:
            history = self.binding.store.keepsHistory
            seq = self.log.record(item_id, ItemState.ADDED, None, history=history)
        else:
            seq = change.seq
        self._remember(item_id, seq)
        if self.slow and isinstance(self.command, Add):
            return StatusCode.ALREADY_EXISTS
        return None

    def _remember(self, item_id: str, seq: int) -> None:
        values: dict[str, Any] = {
            'seq': seq,
            'offered': None,
            'seen': self.number,
            'digest': self.digest,
        }
        if self.role is Role.SERVER:
            values['remote_id'] = self.remote_id
        elif self.remote_id and (self.known is None or self.item.target_uri is None):
            # the server gave its own id: it is to be told ours
            values['remote_id'] = self.remote_id
            values['unconfirmed'] = True
        self.knowledge.note(item_id, **values)

    def _merge(self) -> bool:
        """Try to merge; say whether it went well. The result is sent to everybody, the peer too."""
        known = self.known
        item_id = str(self.match.id) if known is None else known.item_id
        way_back = self.log.way_back(item_id, known.seq) if known is not None else None
        local = self.agent.getItem(item_id)
        self.loaded.id = item_id
        try:
            spec = self.agent.mergeItems(local, self.loaded, way_back)
        except ConflictError:
            self.loaded.id = None
            return False
        history = self.binding.store.keepsHistory
        before = self.log.get(item_id)
        self.log.record(item_id, ItemState.MODIFIED, spec, history=history)
        base = known.seq if known is not None else before.seq if before else 0
        self.knowledge.note(
            item_id, remote_id=self.remote_id, seq=base, seen=self.number, digest=self.digest
        )
        self.binding.stats.merged += 1
        self.binding.stats.hereMod += 1
        return True

    def _keep_both(self, _status: int) -> int | None:
        assert self.known is not None
        copy = self.agent.conflictItem(self.loaded, self._label())
        copy.id = None
        added = self.agent.addItem(copy)
        history = self.binding.store.keepsHistory
        self.log.record(str(added.id), ItemState.ADDED, None, history=history)
        self._lost()
        self.binding.stats.hereAdd += 1
        return None

    def _keep_ours(self, _status: int) -> int | None:
        if isinstance(self.command, Delete):
            # the peer has deleted what we changed: it gets ours again, as a new item
            self._forget()
            self.binding.stats.merged += 1
            return None
        if self.here is Here.CHANGED:
            self.agent.discardItem(self.loaded, self._label())
            self._lost()
        elif self.known is not None:
            self.agent.discardItem(self.loaded, self._label())
            self.knowledge.note(self.known.item_id, seen=self.number)
        return None

    def _lost(self) -> None:
        """The peer's version lost: ours stays pending for it."""
        assert self.known is not None
        self.knowledge.note(
            self.known.item_id, seen=self.number, digest=self.digest, remote_id=self.remote_id
        )

    def _label(self) -> str:
        day = time.strftime('%Y-%m-%d', time.localtime(self.binding.parties.work.now))
        return f'{self.binding.parties.peer_label} {day}'

    def _bring_back(self, status: int) -> int | None:
        if self.role is Role.CLIENT and not self.remote_id:
            # back here it would have another id, of which the server could not be told: it is to
            # send it as a new item
            return StatusCode.GONE
        self._forget()
        self.known = None
        self.loaded.id = None
        self._add(status)
        return None

    def _delete(self, _status: int) -> int | None:
        assert self.known is not None
        if not self._may_delete():
            text = 'deletions past the limit were not carried out'
            if text not in self.binding.stats.problems:
                self.binding.problem(text)
            return StatusCode.RETRY_LATER
        archive = isinstance(self.command, Delete) and self.command.archive
        delete = self.agent.archiveItem if archive else self.agent.deleteItem
        try:
            delete(self.known.item_id)
        except ItemNotEmpty as error:
            # there is something in it that the peer does not have: it gets the folder again
            self._recall(self.known)
            self._forget()
            return error.status
        history = self.binding.store.keepsHistory
        self.log.record(self.known.item_id, ItemState.DELETED, None, history=history)
        self._forget()
        self.binding.stats.hereDel += 1
        return None

    def _may_delete(self) -> bool:
        progress = self.binding.progress
        total = progress.counted or 0
        progress.deletions += 1
        few = progress.deletions <= FREE_DELETIONS or progress.deletions * 2 <= total
        if few or progress.consent:
            return True
        return self.binding.parties.may_delete(progress.deletions, total)

    def _old_news(self, _status: int) -> int | None:
        assert self.known is not None
        values: dict[str, Any] = {'seen': self.number}
        if self.role is Role.SERVER:
            values['remote_id'] = self.remote_id
        elif self.remote_id and self.item.target_uri is None:
            values |= {'remote_id': self.remote_id, 'unconfirmed': True}
        if self.slow and self.here is Here.UNCHANGED and self.known.seq is not None:
            # it shows an earlier version than we believe it has: it is sent ours again
            values['seq'] = self.known.seq - 1
        self.knowledge.note(self.known.item_id, **values)
        return None

    def _gone(self, _status: int) -> int | None:
        self._forget()
        return None

    def _forget(self) -> None:
        if self.known is not None:
            self.knowledge.forget(self.known.item_id)

    def _refuse(self, _status: int) -> int | None:
        assert self.known is not None
        stats = self.binding.stats
        stats.conflicts += 1
        self.binding.conflict(self.known.item_id)
        if self.known.item_id not in self.binding.progress.withheld:
            self.binding.progress.withheld.append(self.known.item_id)
        self.knowledge.note(self.known.item_id, seen=self.number)
        return None

    def _later(self, _status: int) -> int | None:
        assert self.known is not None
        name = self.agent.describeItem(self.known.item_id)
        self.binding.problem(f'{name} was changed here meanwhile: it is settled the next time')
        return None

    def _count_conflict(self, verdict: Verdict) -> None:
        if verdict in (Verdict.KEEP_BOTH, Verdict.KEEP_OURS, Verdict.REPLACE) and self.known:
            self.binding.stats.merged += 1
            self.binding.conflict(self.known.item_id)


_ACTIONS: dict[Verdict, Callable[[Incoming, int], int | None]] = {
    Verdict.ADD: Incoming._add,
    Verdict.LINK: Incoming._link,
    Verdict.REPLACE: Incoming._replace,
    Verdict.KEEP_BOTH: Incoming._keep_both,
    Verdict.KEEP_OURS: Incoming._keep_ours,
    Verdict.DELETE: Incoming._delete,
    Verdict.OLD_NEWS: Incoming._old_news,
    Verdict.GONE: Incoming._gone,
    Verdict.BRING_BACK: Incoming._bring_back,
    Verdict.REFUSE: Incoming._refuse,
    Verdict.LATER: Incoming._later,
}


def _shown(item: Any) -> dict[str, Any]:
    """Return the fields of an item that an agent may alter, without what is heavy."""
    values = {}
    for name in item.fields:
        value = getattr(item, name, None) if name != 'body' else None
        if value is not None:
            values[name] = value
    return values
