"""What came of a command, before it is put into words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from pysyncml.constants import StatusCode
from pysyncml.immutable import immutable
from pysyncml.protocol.messages import Atomic, Chal, Command, Item, Sequence, Sync
from pysyncml.protocol.session import Said, Session

#: Codes beyond 2xx that say that all is well: the item is there, as the peer or we want it.
_FINE = frozenset((StatusCode.ALREADY_EXISTS, StatusCode.CONFLICT_RESOLVED_SERVER_DATA))


@immutable()
class Reply:
    """The Status of a command, or of one of its items.

    Args:
        command: what is answered.
        code: the Status code.
        items: what the Status carries.
        target: the Target address that is repeated.
        source: the Source address that is repeated.
        more: what else is said because of the command.
        chal: the login that is asked for.
    """

    command: Command
    code: int
    items: tuple[Item, ...] = ()
    target: str | None = None
    source: str | None = None
    more: tuple[Said, ...] = ()
    chal: Chal | None = None

    @property
    def failed(self) -> bool:
        """Whether the command was not carried out."""
        return self.code >= 300 and self.code not in _FINE

    def with_code(self, code: int) -> Reply:
        """Return the same answer with another Status."""
        return replace(self, code=code, items=())


def reply_to(
    command: Command, item: Item, code: int, text: str = '', more: tuple[Said, ...] = ()
) -> Reply:
    """Return the answer for one *item* of a command, with a line that explains it."""
    note = (Item(data=text.encode()),) if text else ()
    return Reply(command, code, note, item.target_uri, item.source_uri, more)


#: What came of an item: which one, if it is to be named; Status code, a line, what else is said.
Fared = tuple[Item | None, int, str, tuple[Said, ...]]


def replies_to(command: Command, fared: list[Fared], *, share: bool) -> list[Reply]:
    """Return the answers for the items of a command; one for all that *share* it, if they can.

    That is if all have fared alike: a Status that names none of them is about all
    (OMA-DS-DataSyncRep 1.2, Status).
    """
    _, first, _, _ = fared[0]
    many = share and len(fared) > 1
    if many and not any(code != first or text or more for _, code, text, more in fared):
        return [Reply(command, first)]
    return [
        reply_to(command, item, code, text, more) if item is not None else Reply(command, code)
        for item, code, text, more in fared
    ]


def refuse_all(commands: Iterable[Command], code: int) -> list[Reply]:
    """Return the same answer for all *commands* and what is in them."""
    return [Reply(command, code) for command in members(commands)]


def members(commands: Iterable[Command]) -> Iterator[Command]:
    """Yield *commands* and all that is in them, containers before what they contain."""
    for command in commands:
        yield command
        if isinstance(command, Sync | Atomic | Sequence):
            yield from members(command.commands)


def put(replies: Iterable[Reply], session: Session) -> list[Said]:
    """Return the Statuses that say *replies*, with what else is said.

    A command that wants no Status gets none (OMA-DS-DataSyncRep 1.2, NoResp).
    """
    saids: list[Said] = []
    for reply in replies:
        saids += session.status_of(
            reply.command,
            reply.code,
            items=reply.items,
            target=reply.target,
            source=reply.source,
            chal=reply.chal,
        )
        saids += reply.more
    return saids
