"""One message in, one message out: the heart of both roles."""

from __future__ import annotations

from pysyncml.constants import Role, StatusCode
from pysyncml.protocol.messages import Message, Status
from pysyncml.protocol.session import Said
from pysyncml.protocol.stages import Stage
from pysyncml.sync.apply import apply, conclude
from pysyncml.sync.incoming import sweep
from pysyncml.sync.outgoing import outgoing, pairs
from pysyncml.sync.parties import Parties

_STATUS_SIZE = 300  # bytes of a Status, generously


def turn(inbound: Message | None, parties: Parties, room: int) -> Message | None:
    """Take in the peer's message and return ours; ``None`` when everything has been said.

    Args:
        inbound: what the peer said; ``None`` for a client that begins.
        parties: who takes part.
        room: about how many bytes our message may have.

    Raises:
        ProtocolError: the session cannot go on.
        AuthError: the peer does not accept who we are.
    """
    session = parties.session
    replies: list[Said] = []
    quiet = False
    if inbound is not None:
        replies = _listen(inbound, parties)
        quiet = inbound.header.no_resp
    try:
        if session.done or not _anything_left(parties):
            conclude(parties)
            session.theirs = session.ours = Stage.DONE
            return None
        saids, final = _speak(replies, parties, room - _STATUS_SIZE * len(replies))
        if quiet:
            # a body may not be empty: who wants no Status gets the one for its header then
            saids = [s for s in saids if not isinstance(s.command, Status)] or replies[:1]
        message = session.send(saids, final=final)
        if session.done:
            conclude(parties)
        return message
    finally:
        parties.keep_stats()


def _listen(inbound: Message, parties: Parties) -> list[Said]:
    session = parties.session
    code = StatusCode.OK
    if session.role is Role.SERVER and inbound.header.cred is not None and session.trusted:
        code = StatusCode.AUTHENTICATION_ACCEPTED
    replies = [session.status_of_header(inbound, code)]
    stage = session.theirs
    _prefetch_awaited(parties)
    for command, answered in session.receive(inbound):
        replies += apply(command, answered, parties)
    if inbound.final and stage is Stage.SETUP and _has_sent_all(parties):
        session.theirs = Stage.MAP
    if stage <= Stage.SYNC < session.theirs:
        for binding in parties.bindings():
            if binding.progress.live:
                sweep(binding)
    return replies


def _has_sent_all(parties: Parties) -> bool:
    """Whether the peer did without separate initialisation (OMA-DS-Protocol 1.2, §5.1).

    It has sent its changes along with its Alerts then, for all of its datastores.
    """
    live = [binding.progress for binding in parties.bindings() if binding.progress.live]
    return bool(live) and all(progress.early for progress in live)


def _prefetch_awaited(parties: Parties) -> None:
    """Load at once what is known of all items that await a Status."""
    for binding in parties.bindings():
        items = [
            sent.item
            for sent in parties.session.awaiting.values()
            if sent.store == binding.store.uri and sent.command in ('Add', 'Replace', 'Delete')
        ]
        binding.known.prefetch(item_ids=items)


def _speak(replies: list[Said], parties: Parties, room: int) -> tuple[list[Said], bool]:
    session = parties.session
    if session.has_floor:
        commands, final = outgoing(parties, room)
        if final and session.ours is Stage.SETUP and session.theirs > Stage.SYNC:
            # the peer's package held its changes too: so does ours
            session.ours = Stage.SYNC
            changes, final = outgoing(parties, room - _STATUS_SIZE * len(commands))
            commands = [*commands, *changes]
        return [*replies, *commands], final
    if session.role is Role.CLIENT and session.ours is Stage.MAP:
        replies = [*replies, *pairs(parties, room)]
    return [*replies, session.next_message()], False


def _anything_left(parties: Parties) -> bool:
    """Whether a client still has a datastore to talk about after setting up."""
    session = parties.session
    if session.role is Role.SERVER or session.ours is Stage.SETUP:
        return True
    return any(progress.live for progress in session.datastores.values())
