"""What a peer may ask of an agent besides adding, replacing and deleting: all of it optional."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from pysyncml.errors import FeatureNotSupported


class Extras:
    """The optional part of an agent; each default says that it cannot be done here.

    ``hierarchicalSync`` tells whether items have parents (their attribute ``parent``),
    ``fieldLevel`` whether a peer may send the changed fields of an item only (``True``, or the
    content types in which it may), and ``filterNames`` by which properties it may choose what it
    wants to have.
    """

    hierarchicalSync = False
    fieldLevel: bool | Collection[str] = False
    filterNames: tuple[str, ...] = ()

    def getItem(self, itemID: str) -> Any:
        """Return the item with this id."""
        raise NotImplementedError(f'{type(self).__name__} must implement getItem()')

    def reads_in_pieces(self, contentType: str) -> bool:
        """Return whether ``loadItem`` can read items of a type that are larger than memory.

        It is then given a stream over a file for those that come in parts, and may attach files
        to the stream that ``dumpItem`` is given. The default says no.
        """
        return False

    def preferred_type(self, item: Any, types: list[tuple[str, str]]) -> tuple[str, str]:
        """Return in which type and version *item* is to be sent.

        *types* are those that the peer takes, the best one first, which is the default.
        """
        return types[0]

    def archiveItem(self, itemID: str) -> None:
        """Delete an item from the set, but keep it in an archive (Delete with Archive).

        An agent that does not override this has no archive: nothing is deleted then, and the
        peer is told so (501).
        """
        raise FeatureNotSupported('there is no archive here')

    def softDeleteItem(self, itemID: str) -> None:
        """Free the memory an item takes up here; its server keeps it (Delete with SftDel).

        Only clients are asked. The default refuses: nothing is lost, and the server is told.
        """
        raise FeatureNotSupported('items are not given up here')

    def moveItem(self, itemID: str, parentID: str | None) -> None:
        """Put an item into another folder; ``None`` is the outermost (Move, SyncML 1.2).

        Only asked of agents with ``hierarchicalSync``.

        Raises:
            MoveFailed: it cannot be there.
        """
        raise FeatureNotSupported('items cannot be moved here')

    def parentItem(self, itemID: str) -> str | None:
        """Return the id of the folder an item is in; ``None`` for the outermost.

        Only asked of agents with ``hierarchicalSync``. The default is the item's ``parent``.
        """
        parent = getattr(self.getItem(itemID), 'parent', None)
        return None if parent is None else str(parent)

    def check_index(self) -> list[tuple[str, str]]:
        """Examine what is remembered of the items beside the log of changes, and mend it.

        Asked by ``--check-state``, within a unit of work that is taken back where nothing is
        found. Nothing may be registered as deleted. The default remembers nothing.

        Returns:
            What is wrong, each with what was done about it (empty: nothing).
        """
        return []

    def checkpoint(self) -> Callable[[], None] | None:
        """Return what takes back everything that is done to items from now on.

        It is called when one part of an Atomic has failed, after the database has been taken back
        to where it was; an agent all of whose items live there returns ``lambda: None``. The
        default, ``None``, says that nothing can be taken back: Atomic is refused (406).
        """
        return None

    def filterProperties(self, itemID: str) -> Mapping[str, Any]:
        """Return what a peer may filter by: values of the properties in ``filterNames``.

        A value is text, several texts, or ``None``; times are written ``YYYYMMDDThhmmssZ``.
        The keywords ``SINCE`` and ``BEFORE`` go by a property called ``modified``.
        """
        return {}

    def abridged_item(self, item: Any, fingerprint: str) -> Any | None:
        """Return *item* without what the version with this fingerprint has as well.

        Asked for a change of which the peer may be sent some fields only. The default, ``None``,
        sends the whole.
        """
        return None

    def completeItem(self, itemID: str, item: Any) -> Any:
        """Return *item*, of which a peer has sent some fields only, with all of its fields.

        Only asked of agents with ``fieldLevel``. The default takes fields that are ``None`` and
        extensions that are missing from ours.

        Raises:
            InvalidItem: ours is not what they are to be taken from; the peer is told (404), and
                sends the whole.
        """
        mine = self.getItem(itemID)
        for name, value in mine.values().items():
            if getattr(item, name, None) is None:
                setattr(item, name, value)
        if hasattr(item, 'extensions') and hasattr(mine, 'extensions'):
            item.extensions = {**mine.extensions, **item.extensions}
        return item
