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
    if inbound is not None:
        replies = _listen(inbound, parties)
    try:
        if session.done or not _anything_left(parties):
            conclude(parties)
            session.theirs = session.ours = Stage.DONE
            return None
        message = _speak(replies, parties, room - _STATUS_SIZE * len(replies))
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
    if stage is Stage.SYNC and session.theirs is not stage:
        for binding in parties.bindings():
            if binding.progress.live:
                sweep(binding)
    if inbound.header.no_resp:
        return [said for said in replies if not isinstance(said.command, Status)]
    return replies


def _prefetch_awaited(parties: Parties) -> None:
    """Load at once what is known of all items that await a Status."""
    for binding in parties.bindings():
        items = [
            sent.item
            for sent in parties.session.awaiting.values()
            if sent.store == binding.store.uri and sent.command in ('Add', 'Replace', 'Delete')
        ]
        binding.known.prefetch(item_ids=items)


def _speak(replies: list[Said], parties: Parties, room: int) -> Message:
    session = parties.session
    if session.has_floor:
        commands, final = outgoing(parties, room)
        return session.send([*replies, *commands], final=final)
    if session.role is Role.CLIENT and session.ours is Stage.MAP:
        replies = [*replies, *pairs(parties, room)]
    return session.send([*replies, session.next_message()], final=False)


def _anything_left(parties: Parties) -> bool:
    """Whether a client still has a datastore to talk about after setting up."""
    session = parties.session
    if session.role is Role.SERVER or session.ours is Stage.SETUP:
        return True
    return any(progress.live for progress in session.datastores.values())
