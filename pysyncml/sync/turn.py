"""One message in, one message out: the heart of both roles."""

from __future__ import annotations

from collections.abc import Sequence

from pysyncml.constants import AlertCode, Role, StatusCode
from pysyncml.errors import RemoteProtocolError
from pysyncml.protocol.messages import Alert, Message, Results, Status
from pysyncml.protocol.session import Said, Session
from pysyncml.protocol.stages import Stage
from pysyncml.sync.apply import apply, conclude
from pysyncml.sync.large_objects import give_up
from pysyncml.sync.maps import pairs
from pysyncml.sync.outgoing import outgoing
from pysyncml.sync.parties import Parties
from pysyncml.sync.room import Room
from pysyncml.sync.setting_up import note_progress, shortened
from pysyncml.sync.sweeping import sweep

#: How often both sides may say nothing but that they wait.
_PATIENCE = 20


def turn(inbound: Message | None, parties: Parties, limit: int) -> Message | None:
    """Take in the peer's message and return ours; ``None`` when everything has been said.

    Args:
        inbound: what the peer said; ``None`` for a client that begins.
        parties: who takes part.
        limit: bytes our message may have.

    Raises:
        ProtocolError: the session cannot go on.
        AuthError: the peer does not accept who we are.
    """
    try:
        try:
            message = _turn(inbound, parties, limit)
        finally:
            parties.keep_stats()
        _note_progress(parties)
        return message
    finally:
        parties.part()


def _turn(inbound: Message | None, parties: Parties, limit: int) -> Message | None:
    session = parties.session
    ended = session.suspended
    replies = _listen(inbound, parties) if inbound is not None else []
    # the peer has said just now that it ends the session: it gets its answer
    told = (session.suspended or _gave_up(session)) and not ended
    if parties.suspend and session.role is Role.CLIENT:
        # there is no way to say so, or nobody to say it to: we just go
        session.suspended |= inbound is None or session.version != '1.2'
    if not told and (_is_over(parties) or _gets_no_more(inbound, parties)):
        if not session.aborted and not session.suspended:
            _conclude(parties)
            session.theirs = session.ours = Stage.DONE
        return None
    quiet = inbound is not None and inbound.header.no_resp
    loud = [said for said in replies if not quiet or not isinstance(said.command, Status)]
    saids, final = _speak(loud, parties, Room(session, limit))
    _watch(session, inbound, saids)
    # a body may not be empty: who wants no Status still gets the one for its header then
    saids = saids or replies[:1]
    message = session.send(saids, final=final, awaiting=parties.limits.awaiting)
    over = session.ours is session.theirs is Stage.DONE
    if over or (session.role is Role.SERVER and _is_last_word(message, session)):
        _conclude(parties)
    return message


def _gave_up(session: Session) -> bool:
    """Whether the client has ended the session; what it said before that counts."""
    return session.role is Role.SERVER and bool(session.aborted)


def _is_last_word(message: Message | None, session: Session) -> bool:
    """Whether a server's *message* is all, and leaves nothing for its client to answer.

    So it is after the fourth package when only the client had changes to send. Some clients and
    servers take the session for over then, and some clients still say that they have nothing
    to say (OMA-DS-Protocol 1.2, §5.1).
    """
    return (
        message is not None
        and message.final
        and session.ours is session.theirs is Stage.MAP
        and not session.done
        and not session.unsaid
        and all(isinstance(command, Status) for command in message.commands)
    )


def _conclude(parties: Parties) -> None:
    """Let the anchors move, once."""
    session = parties.session
    if not session.concluded and not session.suspended and not session.aborted:
        conclude(parties)
        session.concluded = True


def _watch(session: Session, inbound: Message | None, saids: Sequence[Said]) -> None:
    """End a session in which both sides only ask each other to go on."""
    told = [*(inbound.commands if inbound is not None else ()), *(said.command for said in saids)]
    idle = all(
        isinstance(command, Status)
        or (isinstance(command, Alert) and command.code == AlertCode.NEXT_MESSAGE)
        for command in told
    )
    idle = idle and inbound is not None and not inbound.final and not session.unsaid
    session.idle = session.idle + 1 if idle else 0
    if session.idle > _PATIENCE:
        raise RemoteProtocolError('the other side does not go on')


def _is_over(parties: Parties) -> bool:
    """Whether nothing is left to be said."""
    return parties.session.done or not _anything_left(parties)


def _gets_no_more(inbound: Message | None, parties: Parties) -> bool:
    """Whether a client that only sends changes has heard what has become of all of them."""
    session = parties.session
    if session.role is Role.SERVER or not _is_last_word(inbound, session):
        return False
    return not any(binding.they_send for binding in parties.bindings() if binding.progress.live)


def _anything_left(parties: Parties) -> bool:
    """Whether a client still has a datastore to talk about after setting up."""
    session = parties.session
    if session.role is Role.SERVER or session.ours is Stage.SETUP or session.unsaid:
        return True
    return any(progress.live for progress in session.datastores.values())


def _note_progress(parties: Parties) -> None:
    session = parties.session
    if session.concluded or (session.done and not session.suspended and not session.aborted):
        return
    for binding in parties.bindings():
        if binding.progress.live and binding.progress.agreed:
            note_progress(binding, agreed=session.suspended)


# --- listening --------------------------------------------------------------------------------


def _listen(inbound: Message, parties: Parties) -> list[Said]:
    session = parties.session
    code = StatusCode.OK
    heeded = session.trusted if session.role is Role.SERVER else session.verified
    if inbound.header.cred is not None and heeded:
        code = StatusCode.AUTHENTICATION_ACCEPTED
    replies = [session.status_of_header(inbound, code, chal=session.challenge)]
    stage, busy = session.theirs, session.busy
    _prefetch_awaited(parties)
    for command, answered in session.receive(inbound):
        if session.suspended and not isinstance(command, Status):
            replies += session.status_of(command, StatusCode.OPERATION_CANCELLED)
        else:
            replies += apply(command, answered, parties)
    if session.busy == busy:
        session.busy = 0
    if session.peer_max_msg_size != parties.peer.max_msg_size:
        parties.peer.max_msg_size = session.peer_max_msg_size
        parties.work.records.save(parties.peer)
    if stage <= Stage.SYNC < session.theirs and not session.suspended:
        for binding in parties.bindings():
            if binding.progress.live:
                replies += give_up(binding)
                sweep(binding)
    return replies


def _prefetch_awaited(parties: Parties) -> None:
    """Load at once what is known of all items that await a Status."""
    for binding in parties.bindings():
        items = [
            sent.item
            for sent in parties.session.awaiting.values()
            if sent.store == binding.store.uri and sent.command in ('Add', 'Replace', 'Delete')
        ]
        binding.known.load(items)


# --- speaking ---------------------------------------------------------------------------------


def _speak(replies: list[Said], parties: Parties, room: Room) -> tuple[list[Said], bool]:
    """Return what we say, and whether it ends our package."""
    session = parties.session
    saids = _answers(replies, session, room)
    if parties.suspend and session.role is Role.CLIENT:
        session.suspended = True
        return [*saids, session.alert(AlertCode.SUSPEND)], True
    if session.busy and not session.aborted:
        return [*saids, session.alert(AlertCode.RESULT)], False
    if session.suspended or session.aborted:
        return saids, True
    if session.introducing and not session.unsaid:
        return saids, True
    if session.unsaid or not session.has_floor:
        if session.role is Role.CLIENT and session.ours is Stage.MAP and not session.unsaid:
            saids += pairs(parties, room)[0]
        going_on = [] if session.has_floor else [session.alert(AlertCode.NEXT_MESSAGE)]
        return [*saids, *going_on], False
    while True:
        commands, final = outgoing(parties, room)
        saids += commands
        if not final or not session.has_floor_after:
            return saids, final
        session.ours = session.ours.following


def _answers(replies: list[Said], session: Session, room: Room) -> list[Said]:
    """Return the answers there is room for: the one to the header first, then the oldest.

    The others are left in ``session.unsaid``.
    """
    saids: list[Said] = []
    if replies:
        saids.append(replies.pop(0))
        room.take(saids[0])
    room.begin()
    waiting = [*session.unsaid, *replies]
    count = 0
    for said in waiting:
        if isinstance(said.command, Results):
            said = shortened(said, room)
        if not room.take(said):
            break
        saids.append(said)
        count += 1
    session.unsaid = waiting[count:]
    return saids
