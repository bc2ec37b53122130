"""What a program brings along to have its data synchronised: items, and an agent that keeps them.

An :class:`Item` is one thing that is synchronised; an :class:`Agent` is the glue between the
framework and the place where the items live. Both keep the camelCase of the documented surface,
since their methods are what programs override.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any, BinaryIO, ClassVar

from pysyncml.agents.extras import Extras
from pysyncml.errors import ConflictError, SyncmlError
from pysyncml.protocol.devinf import ContentTypeInfo


class Ext:
    """A thing that carries extensions: named lists of text that nobody here interprets.

    They are what a peer knows about an item and we do not; they are kept and handed on.
    """

    # Made on first use, so that classes that never call our __init__ (a database model, say)
    # have extensions too.
    @property
    def extensions(self) -> dict[str, list[str]]:
        """The values of each extension, by its name."""
        return self.__dict__.setdefault('_extension_values', {})

    @extensions.setter
    def extensions(self, values: Mapping[str, Iterable[str]]) -> None:
        self.__dict__['_extension_values'] = {name: list(texts) for name, texts in values.items()}

    def __init__(self, *args: Any, **stray: Any) -> None:
        """Start without extensions; arguments meant for other base classes are not looked at."""
        self.__dict__['_extension_values'] = {}

    def addExtension(self, name: str, value: str) -> None:
        """Add one more *value* to the extension *name*."""
        self.extensions.setdefault(name, []).append(value)


class Item:
    """One thing that is synchronised: an id, some fields, and a way to be written and read.

    ``fields`` names the attributes that make up the item: they are what is compared, merged and
    shown. Two items are equal when they are of the same type and their fields are; without
    fields, when they have the same id. Items change, so they cannot be keys of a dict.
    """

    id: Any = None
    fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, id: Any = None, **values: Any) -> None:
        """Set the *id* and the fields; a field that is not given is ``None``.

        Raises:
            TypeError: a keyword is no field.
        """
        self.id = id
        for name in self.fields:
            setattr(self, name, values.pop(name, None))
        if values:
            raise TypeError(f'{type(self).__name__} has no field {", ".join(sorted(values))}')

    def values(self) -> dict[str, Any]:
        """Return the fields and their values."""
        return {name: getattr(self, name, None) for name in self.fields}

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other):
            return NotImplemented
        assert isinstance(other, Item)
        if self.fields:
            return self.values() == other.values()
        return self.id is not None and self.id == other.id

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return f'Item ID {self.id}'

    def __repr__(self) -> str:
        return f'<{type(self).__name__} id={self.id!r}>'

    def dump(
        self, stream: BinaryIO, contentType: str | None = None, version: str | None = None
    ) -> Any:
        """Write the item to *stream* as bytes of *contentType*, in *version* of that type.

        May return the content type and version that were really written, as a tuple.

        Raises:
            InvalidContentType: the item cannot be written in this type.
        """
        raise NotImplementedError(f'{type(self).__name__} must implement dump()')

    def dumps(self, contentType: str | None = None, version: str | None = None) -> bytes:
        """Return what :meth:`dump` writes."""
        stream = io.BytesIO()
        self.dump(stream, contentType, version)
        return stream.getvalue()

    @classmethod
    def load(
        cls, stream: BinaryIO, contentType: str | None = None, version: str | None = None
    ) -> Any:
        """Return the item read from *stream*: bytes of *contentType*.

        Raises:
            InvalidContentType: the type is not known.
            InvalidContent: the bytes are not of that type.
        """
        raise NotImplementedError(f'{cls.__name__} must implement load()')

    @classmethod
    def loads(
        cls, data: bytes | str, contentType: str | None = None, version: str | None = None
    ) -> Any:
        """Return the item that *data* holds; text counts as UTF-8."""
        if isinstance(data, str):
            data = data.encode('utf-8')
        return cls.load(io.BytesIO(data), contentType, version)


class Agent(Extras):
    """The glue between the framework and the items of one kind.

    A subclass must implement :meth:`getAllItems`, :meth:`getItem`, :meth:`addItem`,
    :meth:`replaceItem` and :meth:`deleteItem`; everything else has a default. ``LookupError``
    raised by these methods tells the peer that there is no such item; any other error costs the
    one command it happened in.

    ``itemClass`` is the :class:`Item` subclass this agent keeps, ``contentTypes`` the list of
    :class:`ContentTypeInfo` it can read and write, ``mfactory`` the factory of mergers for its
    items (``None``: two changes of one item are always a conflict).
    """

    itemClass: Any = None
    contentTypes: list[ContentTypeInfo] = []  # noqa: RUF012 - every instance gets its own copy
    mfactory: Any = None
    reportsChanges = False  # whether replaceItem() returns change-specs of its own
    transactional = True  # whether methods write to the database, to be taken back if they fail

    def __init__(
        self,
        contentTypes: Iterable[ContentTypeInfo] | None = None,
        hierarchicalSync: bool | None = None,
    ) -> None:
        """Set what the class does not: content types, and whether items have parents."""
        self.contentTypes = deepcopy(
            list(self.contentTypes if contentTypes is None else contentTypes)
        )
        if hierarchicalSync is not None:
            self.hierarchicalSync = hierarchicalSync

    # --- what every agent must do -----------------------------------------------------------

    def getAllItems(self) -> Iterable[Any]:
        """Return all items, in any order; a generator is welcome."""
        raise NotImplementedError(f'{type(self).__name__} must implement getAllItems()')

    def getItem(self, itemID: str) -> Any:
        """Return the item with this id; raise ``InvalidItem`` or ``LookupError`` if none has."""
        raise NotImplementedError(f'{type(self).__name__} must implement getItem()')

    def addItem(self, item: Any) -> Any:
        """Keep a new *item* and return it with its ``id`` set."""
        raise NotImplementedError(f'{type(self).__name__} must implement addItem()')

    def replaceItem(self, item: Any, reportChanges: bool) -> str | None:
        """Put *item* in the place of the one with the same id.

        With *reportChanges* the change-spec of what changed may be returned; ``None`` leaves it
        to the framework to find out.
        """
        raise NotImplementedError(f'{type(self).__name__} must implement replaceItem()')

    def deleteItem(self, itemID: str) -> None:
        """Forget the item with this id."""
        raise NotImplementedError(f'{type(self).__name__} must implement deleteItem()')

    def prefetchItems(self, itemIDs: list[str]) -> None:
        """Take notice that these items are about to be asked for, one by one.

        An agent that can load many at once does it here; the default does nothing.
        """

    def prefetch_matches(self, items: list[Any]) -> Iterable[str]:
        """Take notice that matches of *items*, which a peer has sent, are about to be asked for.

        An agent that can look for many at once does it here, so that :meth:`matchItems` need not.
        Items are read before it is their turn only for an agent that overrides this.

        Returns:
            The ids of those of ours that may be matches, as far as they are known.
        """
        return ()

    def settleItems(self) -> Iterable[tuple[str, str | None]]:
        """Take notice that a peer has sent all of its changes in this session.

        What the agent has to alter only now (of two items with one name, say), it returns as
        pairs of id and change-spec; all peers will hear of these. The default has nothing.
        """
        return ()

    # --- reading and writing ----------------------------------------------------------------

    def dumpItem(
        self,
        item: Any,
        stream: BinaryIO,
        contentType: str | None = None,
        version: str | None = None,
    ) -> tuple[str, str] | None:
        """Write *item* to *stream*; return what type and version it became, if not as asked."""
        written = item.dump(stream, contentType, version)
        return written if isinstance(written, tuple) else None

    def loadItem(
        self, stream: BinaryIO, contentType: str | None = None, version: str | None = None
    ) -> Any:
        """Return the item read from *stream*; it has no id yet."""
        if self.itemClass is None:
            raise NotImplementedError(
                f'{type(self).__name__} must set itemClass or implement loadItem()'
            )
        return self.itemClass.load(stream, contentType, version)

    def dumpsItem(
        self, item: Any, contentType: str | None = None, version: str | None = None
    ) -> bytes | tuple[str, str, bytes]:
        """Return *item* as bytes; or type, version and bytes, if the type is not as asked."""
        stream = io.BytesIO()
        written = self.dumpItem(item, stream, contentType, version)
        if isinstance(written, tuple):
            return (*written, stream.getvalue())
        return stream.getvalue()

    def loadsItem(
        self, data: bytes | str, contentType: str | None = None, version: str | None = None
    ) -> Any:
        """Return the item that *data* holds; text counts as UTF-8."""
        if isinstance(data, str):
            data = data.encode('utf-8')
        return self.loadItem(io.BytesIO(data), contentType, version)

    # --- many items -------------------------------------------------------------------------

    def allItemIDs(self) -> Iterable[str]:
        """Return the ids of all items; override it if that is possible without loading them."""
        for item in self.getAllItems():
            yield str(item.id)

    def deleteAllItems(self) -> None:
        """Forget all items."""
        for itemID in list(self.allItemIDs()):
            self.deleteItem(itemID)

    def matchItem(self, item: Any) -> Any | None:
        """Return one of our items that is the same thing as *item*, or ``None``.

        Asked in a slow sync for each item that arrives. The default looks at every item for an
        equal one; with many items, override it with something faster (a digest in an index).
        """
        return next((mine for mine in self.getAllItems() if self._isSame(mine, item)), None)

    def matchItems(self, item: Any) -> Iterator[Any]:
        """Yield all our items that may be the same thing as *item*, the likeliest first.

        Of several equal items each goes with one of the peer's. The default yields what
        :meth:`matchItem` returns, or, if that is not overridden either, all equal items.
        """
        if type(self).matchItem is Agent.matchItem:
            yield from (mine for mine in self.getAllItems() if self._isSame(mine, item))
        elif (match := self.matchItem(item)) is not None:
            yield match

    def fingerprint(self, item: Any) -> str | None:
        """Return a short text that is the same for equal items; ``None`` if there is no telling.

        By it a peer is known to send nothing new. The default goes by fields and extensions.
        """
        values = item.values()
        if not values:
            return None
        text = repr(sorted(values.items())) + repr(sorted(_extensions(item).items()))
        return hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()

    def isSameItem(self, itemID: str, item: Any) -> bool:
        """Return whether the item with this id equals *item*; override it to spare loading."""
        mine = self.getItem(itemID)
        return self._isSame(mine, item) and _extensions(mine) == _extensions(item)

    def _isSame(self, mine: Any, item: Any) -> bool:
        if mine == item:
            return True
        fields = getattr(item, 'fields', ())
        unlike = [f for f in fields if getattr(mine, f, None) != getattr(item, f, None)]
        if not unlike or any(getattr(mine, name, None) is not None for name in unlike):
            return False
        # Fields that are None here may just not be loaded: an agent may fetch a body only when
        # the item is written. So look at our item the way a peer would see it.
        try:
            return bool(self._as_written(mine) == item)
        except (SyncmlError, LookupError, OSError):
            return False

    def checksumItem(self, itemID: str) -> tuple[str | None, str] | None:
        """Return the name of an item and the checksum of its content, to compare it with a peer's.

        Neither may depend on the content type a peer wants. What an agent remembers of an item
        does not count: it looks at the content itself, as it is now. ``None`` for one that is
        out of sight, and is not to be compared.

        The default has the SHA-256 of the body, or of the other fields where there is none.

        Raises:
            ItemBusy: the item has changed, and no change of it has been registered yet.
            InvalidItem: there is no such item (``LookupError``, too).
        """
        item = self._as_written(self.getItem(itemID))
        name = getattr(item, 'name', None)
        body = getattr(item, 'body', None)
        if body is None:
            body = repr(sorted((k, v) for k, v in item.values().items() if k != 'name'))
        if isinstance(body, str):
            body = body.encode('utf-8', 'surrogatepass')
        return (None if name is None else str(name)), hashlib.sha256(body).hexdigest()

    def _as_written(self, item: Any) -> Any:
        """Return *item* as a peer would see it: fields that are not loaded yet are, then."""
        content = next((c for c in self.contentTypes if c.preferred), None)
        ctype, version = (content.ctype, content.versions[-1]) if content else (None, None)
        written = self.dumpsItem(item, ctype, version)
        if isinstance(written, tuple):
            ctype, version, written = written
        return self.loadsItem(written, ctype, version)

    # --- conflicts --------------------------------------------------------------------------

    def mergeItems(self, localItem: Any, remoteItem: Any, changeSpec: str | None) -> str | None:
        """Merge *remoteItem* into *localItem*, keep the result, return the spec of the change.

        *changeSpec* says what changed in *localItem* since the peer last saw it, ``None`` that
        this is not known. The default merges field by field with ``mfactory``.

        Raises:
            ConflictError: the changes do not go together. Both items are as they were.
        """
        if self.mfactory is None or not remoteItem.fields:
            raise ConflictError(f'{localItem}: changed on both sides')
        merger = self.mfactory.newMerger(changeSpec)
        ours, theirs = localItem.values(), remoteItem.values()
        merged = {name: merger.mergeChanges(name, ours[name], theirs[name]) for name in theirs}
        before = {**theirs, 'id': remoteItem.id}
        after = {**merged, 'id': localItem.id}
        if isinstance(remoteItem, Ext) and isinstance(localItem, Ext):
            # What the peer does not know of the item is no reason to forget it.
            before['extensions'] = remoteItem.extensions
            after['extensions'] = {**localItem.extensions, **remoteItem.extensions}
        try:
            _assign(remoteItem, after)
            spec = self.replaceItem(remoteItem, True)
        except BaseException:
            _assign(remoteItem, before)
            raise
        return self.newChangeSpec(ours, merged) if spec is None else spec

    def newChangeSpec(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
        """Return the change-spec that leads back from the field values *after* to *before*.

        ``None`` without ``mfactory``: then nobody can tell what changed.
        """
        if self.mfactory is None:
            return None
        merger = self.mfactory.newMerger()
        for name in after:
            merger.pushChange(name, before.get(name), after[name])
        return str(merger.getChangeSpec())

    def conflictItem(self, item: Any, label: str) -> Any:
        """Return what is to be kept beside the winner of a conflict, when both are kept.

        *item* is the loser, *label* a short text (a date, a device) to tell it by. The default
        is the item itself without its id; an agent whose items have names puts the label there.
        """
        item.id = None
        return item

    def discardItem(self, item: Any, label: str) -> None:
        """Take notice that *item*, the loser of a conflict, will not be kept.

        Called when the policy does not keep both. The default lets it go; an agent that has a
        place for such things puts it there.
        """

    def modifiedTime(self, itemID: str) -> float | None:
        """Return when the item last changed, in seconds since 1970, or ``None`` if not known.

        Only used to break a tie, by the policy "newest wins".
        """
        return None

    def describeItem(self, itemID: str) -> str:
        """Return a short text that tells people which item this is."""
        try:
            return str(self.getItem(itemID))
        except (SyncmlError, LookupError, OSError):
            return f'Item ID {itemID}'


def _extensions(item: Any) -> dict[str, list[str]]:
    return item.extensions if isinstance(item, Ext) else {}


def _assign(item: Any, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(item, name, value)


__all__ = ['Agent', 'Ext', 'Item']
