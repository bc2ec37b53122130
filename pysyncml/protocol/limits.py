"""What one peer may make us do, and make us keep.

Everything a peer sends costs time, memory or room on the disk. What none of them has a use for is
refused here before it costs much, with the Status that says why (docs/protocol.rst, Limits). The
bytes, the depth and the elements of one message are limited where it is read
(:mod:`pysyncml.transport.wsgi`, :mod:`pysyncml.codec.node`), the length of names in
:mod:`pysyncml.storage.names`, what waits for a busy server in :mod:`pysyncml.busy`.
"""

from __future__ import annotations

from pysyncml.constants import StatusCode
from pysyncml.errors import CommandError, RemoteProtocolError
from pysyncml.immutable import immutable
from pysyncml.protocol.messages import Item, Message, Status


class TooLong(CommandError):
    """An id, an address or an anchor is longer than we keep."""

    status = StatusCode.URI_TOO_LONG


@immutable()
class Limits:
    """The limits of one device; a program sets others with ``adapter.limits = Limits(...)``.

    Attributes:
        header: characters of a device's id or name, of a session id or a message id.
        id: characters of the id of an item, and of the address of a datastore.
        address: characters of an address of a server, as it stands in the header.
        anchor: characters of an anchor.
        commands: commands and items in one message.
        least_message: bytes; a peer that takes smaller messages still gets ones of this size.
        largest_message: bytes; a peer that takes larger messages gets ones of this size.
        part: bytes of a message with a part of an item, to a server of our kind that sets no limit;
            of one from a server, which has to keep its answer, half of that.
        item: bytes of an item that comes in parts, where the datastore sets no limit of its own.
        in_memory: the same of one that has to be held in memory: there is no folder for what
            arrives, or the agent does not read it piece by piece.
        unfinished: bytes of all items together of which parts have arrived, or are to arrive.
        awaiting: things we have said that have no Status yet; the oldest are forgotten, as if the
            answer had been lost.
        unsaid: answers that had no room in a message yet; a peer that takes small messages only
            has to fetch them before it asks for more.
        datastores: of one peer.
        introductions: how often we say in one message who we are.
        comparisons: pages of checksums that are made for one message.
        device_information: characters of what is kept of a peer's.
        messages: in one session.
        sessions: conversations a server keeps; the oldest are forgotten.
        lines: for people, about what went wrong in a session with one datastore.
    """

    header: int = 255
    id: int = 2048
    address: int = 2048
    anchor: int = 1024
    commands: int = 150_000
    least_message: int = 500
    largest_message: int = 16 << 20
    part: int = 8 << 20
    item: int = 4 << 30
    in_memory: int = 128 << 20
    unfinished: int = 16 << 30
    awaiting: int = 20_000
    unsaid: int = 20_000
    datastores: int = 50
    introductions: int = 10
    comparisons: int = 3
    device_information: int = 1 << 18
    messages: int = 100_000
    sessions: int = 1000
    lines: int = 200

    # --- what is looked at before anything is done ----------------------------------------------

    def check_message(self, message: Message) -> None:
        """See whether *message* may be looked at.

        Raises:
            RemoteProtocolError: it says more than we answer.
        """
        header = message.header
        names = (header.source.uri, header.source.name, header.session_id, header.msg_id)
        if any(len(name or '') > self.header for name in names):
            text = f'a name in the header is longer than {self.header} characters'
            raise RemoteProtocolError(text, StatusCode.URI_TOO_LONG)
        if len(header.target.uri) > self.address or len(header.resp_uri or '') > self.address:
            text = f'an address in the header is longer than {self.address} characters'
            raise RemoteProtocolError(text, StatusCode.URI_TOO_LONG)
        if _asked(message) > self.commands:
            text = f'a message may have {self.commands:,} commands and items at most'
            raise RemoteProtocolError(text, StatusCode.REQUESTED_ENTITY_TOO_LARGE)

    def check_waiting(self, waiting: int, message: Message) -> None:
        """See whether *message* may ask for more, while so many answers are *waiting* for room.

        Raises:
            RemoteProtocolError: the peer has to make room for them first.
        """
        asked = _asked(message)
        if asked > _FEW and waiting + asked > self.unsaid:
            text = f'{waiting:,} answers wait until there is room for them in a message'
            raise RemoteProtocolError(text, StatusCode.REQUESTED_ENTITY_TOO_LARGE)

    def check_length(self, said: int) -> None:
        """See whether a session in which we have *said* so many messages may go on.

        Raises:
            RemoteProtocolError: it has no end.
        """
        if said >= self.messages:
            text = f'the session has more than {self.messages:,} messages'
            raise RemoteProtocolError(text, StatusCode.SYNCHRONIZATION_FAILED)

    def check_item(self, item: Item) -> None:
        """See whether the ids of *item* can be kept.

        Raises:
            TooLong: they are too long.
        """
        for text in (item.target_uri, item.source_uri, item.target_parent, item.source_parent):
            if text is not None and not self.is_id(text):
                raise TooLong(f'an id has {self.id:,} characters at most')

    def is_id(self, text: str) -> bool:
        """Return whether a *text* is short enough for an id."""
        return len(text) <= self.id

    def room(self, wanted: int) -> int:
        """Return the bytes of our next message, where the peer takes as many as *wanted*."""
        return max(self.least_message, min(wanted, self.largest_message))


#: As many commands a message may have that does nothing but go on.
_FEW = 20


def _asked(message: Message) -> int:
    """Return how many commands and items *message* wants answers to."""
    statuses = sum(isinstance(command, Status) for command in message.commands)
    return sum(max(1, len(getattr(c, 'items', ()))) for c in message.walk()) - statuses


def shortened(text: str, most: int = 500) -> str:
    """Return *text*, of which a peer may have written any part, so that people can read it."""
    return text if len(text) <= most else f'{text[: most - 1]}…'
