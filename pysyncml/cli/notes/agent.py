"""The glue between the notes in a directory and the framework."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pysyncml
from pysyncml.cli.notes.index import NoteIndex, NoteRow
from pysyncml.cli.notes.places import Places
from pysyncml.cli.notes.plain import adapted, variants
from pysyncml.cli.notes.recent import RecentTexts
from pysyncml.cli.notes.scan import Scan
from pysyncml.storage import (
    DirectoryStorage,
    FileBody,
    Ignore,
    conflict_name,
    is_racy,
    local_name,
    stamp,
)
from pysyncml.storage.files import looks_of, was_written_at_last

log = logging.getLogger('pysyncml.cli')

_MODIFIED = 'Modified'  # the extension in which notes tell when they were changed
_MOMENT = re.compile(r'(\d{8})T(\d\d)(\d\d)(\d\d)Z', re.ASCII)
#: Bytes of a text whose last version is worth keeping for merges.
TEXT_LIMIT = 1 << 20
_LARGE = 1 << 20  # bytes of a file that is never in memory as a whole
_BEGINNING = 1 << 15  # bytes in which a note's first line is looked for
_OF_WHOLE = 24  # characters of a fingerprint that are of all of a note
_LOOKS, _TICK = 10, 0.02  # how often a file that may change unnoticed is looked at, and seconds
_NOT_IN_NAMES = re.compile(r'[^\w,+=!@#$%^&() -]+')


class Note(pysyncml.NoteItem):
    """A note whose body is read when it is wanted."""

    #: whether the peer gave the note a name, rather than we made one from its first line
    named = True
    #: when the note was changed, in seconds since 1970, if its sender told
    modified: float | None = None
    sha256: str | None = None

    _body: bytes | None = None
    _reader: Callable[[], bytes] | None = None

    @classmethod
    def of_row(cls, row: NoteRow, read: Callable[[NoteRow], bytes]) -> Note:
        """Return the note of a *row*; its body is what *read* returns."""
        note = cls(row.name, id=row.id, extensions=row.extensions)
        note.modified, note.sha256 = row.lastmod, row.sha256
        note._reader = functools.partial(read, row)
        return note

    def leave_out_body(self) -> None:
        """Only name the body, by its digest: whoever is sent the note has it."""
        self.left_out = self.digest
        self.content = self._body = self._reader = None

    def take_body(self, row: NoteRow, read: Callable[[NoteRow], bytes]) -> None:
        """Take the body of a *row*, which *read* returns, for the one that was left out."""
        self.left_out, self.sha256 = None, row.sha256
        self._body, self._reader = None, functools.partial(read, row)

    @property
    def body(self) -> Any:
        """The content, in bytes; of what is too large for that, it is not kept."""
        if self.content is not None:
            return self.content.read_at(0, self.content.size)
        if self._body is None and self._reader is not None:
            self._body = self._reader()
        return self._body

    @body.setter
    def body(self, value: Any) -> None:
        self._body, self.sha256 = value, None

    @property
    def beginning(self) -> bytes:
        """As much of the body as may matter for a name."""
        body = self.body if self.content is None else self.content.read_at(0, _BEGINNING)
        return body or b''

    @property
    def digest(self) -> str:
        """The sha256 of the body."""
        if self.sha256 is None and self.content is not None:
            self.sha256 = self.content.sha256
        if self.sha256 is None:
            self.sha256 = hashlib.sha256(self.body or b'').hexdigest()
        return self.sha256


class Desk:
    """What is done to notes in one unit of work: rows, and files that follow after the commit."""

    name = 'notes'

    def __init__(self, agent: NotesAgent, work: Any) -> None:
        self.agent = agent
        self.work = work
        self.storage = agent.storage
        self.index = NoteIndex(agent.engine.model, work.connection)
        self.batch = self.storage.batch()
        self.bodies: dict[str, Any] = {}  # staged and not published yet: bytes, or a FileBody
        self.places = Places(self)
        self.files = agent.storage.files.hold()
        self.outcomes: list[Any] = []
        self.keeps_texts = agent.engine.isServer  # for merges
        self.ignore: Ignore | None = None  # read when it is first asked

    def checkpoint(self) -> Callable[[], None]:
        """Return what takes back all that is done from now on, but for what is in the database."""
        self.index.flush()
        mark, bodies, places = self.batch.mark(), dict(self.bodies), self.places.copy()

        def take_back() -> None:
            self.index = NoteIndex(self.agent.engine.model, self.work.connection)
            self.batch.undo(mark)
            self.bodies, self.places = bodies, places

        return take_back

    def let_go(self) -> None:
        """Forget everything: the unit of work is over."""
        self.files.let_go()
        self.bodies.clear()
        del self.places, self.index  # places know the desk

    # --- taking part in the commit ------------------------------------------------------------

    def prepare(self) -> list[str]:
        """Make the staged bodies durable; see :class:`~pysyncml.state.work.Publisher`."""
        if not self.agent.engine.options.verify:  # which moves no file
            self.places.settle()
        self.index.flush()
        return list(self.batch.prepare())

    def publish(self, lines: list[str]) -> None:
        """Put the files in their places."""
        self.outcomes = self.storage.publish(lines, self.batch)

    def settle(self, work: Any) -> list[str]:
        """Write down where the files lie now; return the lines that are done."""
        now = self.storage.fs_now()
        done = []
        places: list[dict[str, Any]] = []
        for outcome in self.outcomes:
            if not outcome.ok:
                self.agent.leave(f'a note could not be put in its place: {outcome.error}')
                continue
            done.append(outcome.line)
            if not self.index.says(outcome.item_id, outcome.key, outcome.stamp):
                places.append(_place(outcome, now))
            if outcome.displaced is not None:
                self.agent.trouble(
                    f'"{outcome.key}" was changed here while it was synchronised: '
                    f'the other version is "{outcome.displaced}"'
                )
        NoteIndex(self.agent.engine.model, work.connection).remember_places(places)
        return done


def _place(outcome: Any, now: int) -> dict[str, Any]:
    """Return what is to be written down of where a file lies since it was published."""
    place = {'id': outcome.item_id, 'stamp': b''}
    if outcome.key is not None:
        place['path'] = outcome.key
    if outcome.stamp is not None:
        place['inode'] = looks_of(outcome.stamp)[2]
        # one that somebody may have touched since is looked at by the next scan
        racy = is_racy(outcome.stamp, now) or was_written_at_last(outcome.stamp)
        place['stamp'] = b'' if racy else outcome.stamp
    return place


class NotesAgent(pysyncml.BaseNoteAgent):
    """Keep each note in a file of the engine's directory.

    Args:
        engine: the program; its ``rootDir`` is where the notes are.
    """

    reportsChanges = True
    fieldLevel = frozenset({pysyncml.TYPE_BARE_NOTE})
    transactional = False  # rows and files are gathered, and written at the end

    def __init__(self, engine: Any, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        self.engine = engine
        self.mfactory = pysyncml.CompositeMergerFactory(
            mergers={'body': pysyncml.TextMergerFactory()}
        )
        self.contentTypes = [
            pysyncml.ContentTypeInfo(pysyncml.TYPE_SIF_NOTE, '1.1', preferred=True),
            pysyncml.ContentTypeInfo(pysyncml.TYPE_SIF_NOTE, '1.0'),
            pysyncml.ContentTypeInfo(pysyncml.TYPE_TEXT_PLAIN, ['1.1', '1.0']),
            pysyncml.ContentTypeInfo(pysyncml.TYPE_BARE_NOTE, '1.0'),
        ]
        self.recent = RecentTexts()  # what a scan has read
        self.unfinished: set[str] = set()  # notes whose files could not be put in place
        self.left: dict[str, None] = {}  # lines about notes that are left for the next time
        self._storage: DirectoryStorage | None = None
        self._desk: Desk | None = None
        self._folds: bool | None = None

    # --- the directory ------------------------------------------------------------------------

    @property
    def storage(self) -> DirectoryStorage:
        """The directory the notes are in."""
        if self._storage is None:
            self._storage = DirectoryStorage(self.engine.rootDir, self.engine.syncSubdir)
        return self._storage

    def full(self, path: str) -> str:
        """Return the path of a note on this system."""
        return self.storage.files.path(path)

    def fold(self, path: str) -> str:
        """Return what is equal for all paths that mean the same file here."""
        if self._folds is None:
            folder = os.path.join(self.engine.rootDir, self.engine.syncSubdir)
            self._folds = os.path.exists(os.path.dirname(folder) + '/' + _swapped(folder))
        return path.casefold() if self._folds else path

    @property
    def desk(self) -> Desk:
        """What is being done in the current unit of work."""
        work = self.engine.context.currentWork
        desk = self._desk
        if desk is not None and desk.work is work:
            return desk
        if work is None:
            raise pysyncml.LogicalError('notes can only be reached inside a unit of work')
        self._desk = Desk(self, work)
        work.publishers.append(self._desk)
        return self._desk

    def trouble(self, text: str) -> None:
        """Tell people of something that did not stop the rest."""
        log.warning('%s', text)

    def leave(self, text: str) -> None:
        """Tell people of a note that is left for the next time.

        A client's summary has these lines at its end, and its exit code says that there are some.
        """
        if self.engine.isServer or self.engine.readonly:
            self.trouble(text)
        else:
            log.info('%s', text)
            self.left[text] = None

    def scan(self, store: Any) -> None:
        """Find out what changed in the directory, and register it with *store*."""
        Scan(self, store).run()

    def is_at_rest(self, store: Any) -> bool:
        """Whether a client's session may begin before a scan.

        That is so when both sides have synchronised before, nothing was left undone, all notes lie
        where they should, and the directory is the one it was. (A first scan may take long.)
        """
        work, peer = self.engine.context.currentWork, store.peer
        binding = peer.binding if peer is not None else None
        if binding is None or binding.sourceAnchor is None or binding.record.suspended:
            return False
        here = self.storage.read_identity()
        if here is None or here != work.options().get('directory'):
            return False
        index = NoteIndex(self.engine.model, work.connection)
        return not work.journal_lines(Desk.name) and not index.misplaced()

    # --- reading ------------------------------------------------------------------------------

    def _row(self, item_id: str) -> NoteRow:
        row = self.desk.index.get(item_id)
        if row is None:
            raise pysyncml.InvalidItem(f'there is no note with the id "{item_id}"')
        return row

    def _note(self, row: NoteRow) -> Note:
        return Note.of_row(row, self._read)

    def _content(self, row: NoteRow) -> FileBody | None:
        """Return what reads the file of a note piece by piece, if it is too large for memory.

        Raises:
            ItemBusy: it is not what the index knows, or may change without showing it.
        """
        staged = self.desk.bodies.get(row.id)
        if staged is not None:
            return None if isinstance(staged, bytes) else staged
        if row.stamp and looks_of(row.stamp)[0] <= _LARGE:
            return None  # and if it has grown meanwhile, that is found when it is read
        origin = self.desk.places.origin(row)
        stat = self.storage.stat(origin)
        if stat is None or stat.st_size <= _LARGE:
            return None
        if row.stamp == stamp(stat):
            return self.storage.body(origin, stat)
        for _ in range(_LOOKS):
            now = self.storage.fs_now()
            digest, stat = self.storage.hash(origin)
            if digest != row.sha256:
                break
            if not is_racy(stamp(stat), now):
                return self.storage.body(origin, stat)
            time.sleep(_TICK)  # until another change would show
        raise pysyncml.ItemBusy(f'"{row.name}" has just been changed; it is left for later')

    def _read(self, row: NoteRow) -> bytes:
        """Return the content of a note as the index knows it; anything else is left for later."""
        desk = self.desk
        staged = desk.bodies.get(row.id)
        if staged is not None:
            return staged if isinstance(staged, bytes) else staged.read_at(0, staged.size)
        recent = self.recent.take(row.sha256)
        if recent is not None:
            return recent
        body, _ = self.storage.read(desk.places.origin(row), desk.files)
        if hashlib.sha256(body).hexdigest() != row.sha256:
            raise pysyncml.ItemBusy(f'"{row.name}" has just been changed; it is left for later')
        return body

    def prefetchItems(self, itemIDs: list[str]) -> None:
        """Load the rows of these notes at once."""
        self.desk.index.prefetch(itemIDs)

    def allItemIDs(self) -> list[str]:
        """Return the ids of all notes."""
        return self.desk.index.ids()

    def getAllItems(self) -> Any:
        """Yield all notes; bodies are read when they are wanted."""
        for row in self.desk.index:
            yield self._note(row)

    def getItem(self, itemID: str) -> Note:
        """Return the note with this id."""
        row = self._row(itemID)
        note = self._note(row)
        note.content = self._content(row)
        return note

    def describeItem(self, itemID: str) -> str:
        """Return a note's name for people."""
        row = self.desk.index.get(itemID)
        name = row.name if row is not None else self.desk.index.gone_name(itemID)
        return f'Note "{name}"' if name is not None else f'Item ID {itemID}'

    def modifiedTime(self, itemID: str) -> float | None:
        """Return when a note was last changed."""
        return self._row(itemID).lastmod

    def fingerprint(self, item: Any) -> str | None:
        """Return what is equal for notes of equal name and content.

        Its end tells of the content alone: see :meth:`abridged_item`.
        """
        digest, extensions = item.digest, item.extensions
        said = repr(sorted(extensions.items())) if extensions else '[]'
        text = f'{item.name or ""}\0{digest}\0{said}'
        whole = hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()
        return whole[:_OF_WHOLE] + digest[_OF_WHOLE:]

    def abridged_item(self, item: Any, fingerprint: str) -> Any:
        """Return *item*, without its body now, if the version with this fingerprint has the same.

        It names the body; should the peer have another one after all, it asks for the whole.
        """
        if fingerprint[_OF_WHOLE:] != item.digest[_OF_WHOLE:]:
            return None
        item.leave_out_body()
        return item

    def completeItem(self, itemID: str, item: Any) -> Any:
        """Return a note whose body was left out with the body that is meant, which is ours."""
        if item.left_out is None:
            return item
        row = self._row(itemID)
        if row.sha256 != item.left_out:
            raise pysyncml.InvalidItem(f'"{row.name}" has another content here')
        item.take_body(row, self._read)
        item.content = self._content(row)
        return item

    def checksumItem(self, itemID: str) -> tuple[str, str] | None:
        """Return the name of a note, and the SHA-256 of its file as it is on the disk now.

        A file that is not what the index says, though nothing shows that it was changed, is
        looked at by the next scan.
        """
        row = self._row(itemID)
        if self._is_out_of_sight(row.path):
            return None
        digest, stat = self.storage.hash(row.path)
        if digest != row.sha256:
            if row.stamp != stamp(stat):
                raise pysyncml.ItemBusy(f'"{row.name}" has just been changed; it is left for later')
            row.stamp = b''
            self.desk.index.put(row)
        return row.name, digest

    def check_index(self) -> list[tuple[str, str]]:
        """Compare the index with the files, all of which are read, and with the journal."""
        from pysyncml.cli.notes.checking import IndexCheck

        return IndexCheck(self).run()

    def _is_out_of_sight(self, path: str) -> bool:
        desk = self.desk
        if desk.ignore is None:
            desk.ignore = Ignore(self.engine.rootDir, self.engine.syncSubdir)
        return desk.ignore.ignored(path)

    # --- to and from bytes --------------------------------------------------------------------

    def dumpItem(
        self, item: Any, stream: Any, contentType: str | None = None, version: str | None = None
    ) -> Any:
        """Write a note, with the time of its last change."""
        modified, extensions = getattr(item, 'modified', None), item.extensions
        if modified is not None:
            extensions = {**extensions, _MODIFIED: [_iso(modified)]}
        if contentType == pysyncml.TYPE_BARE_NOTE and item.content is None:
            stream.write(item.body or b'')
            stream.write(item.bare_end(extensions))
            return None
        item.extensions = extensions
        return super().dumpItem(item, stream, contentType, version)

    def loadItem(
        self, stream: Any, contentType: str | None = None, version: str | None = None
    ) -> Note:
        """Return the note that a peer sent."""
        return self._taken_in(Note.load(stream, contentType, version), contentType)

    def loadsItem(
        self, data: bytes | str, contentType: str | None = None, version: str | None = None
    ) -> Any:
        """Return the note that *data* hold."""
        if contentType == pysyncml.TYPE_BARE_NOTE and isinstance(data, bytes):
            return self._taken_in(Note.of_bare(data), contentType)
        return super().loadsItem(data, contentType, version)

    def _taken_in(self, note: Note, contentType: str | None) -> Note:
        """Return *note* with a name, and a body, and the time of its change where it belongs."""
        if note.content is None and note.body is None:
            note.body = b''
        note.modified = _seconds((note.extensions.pop(_MODIFIED, None) or [''])[0])
        if contentType == pysyncml.TYPE_TEXT_PLAIN or not note.name:
            note.named = False
            title = note.name or pysyncml.NoteItem.loads(note.beginning, 'text/plain').name or ''
            note.name = _made_name(title)
        return note

    def reads_in_pieces(self, contentType: str) -> bool:
        """Return whether what a peer sends in this type goes into a file as it is."""
        return contentType.lower() in (pysyncml.TYPE_TEXT_PLAIN, pysyncml.TYPE_BARE_NOTE)

    def preferred_type(self, item: Any, types: list[tuple[str, str]]) -> tuple[str, str]:
        """Return the type that a note goes best in: as it is, where the peer is of our kind."""
        for each in types:
            if each[0] == pysyncml.TYPE_BARE_NOTE:
                return each
        return types[0]

    # --- writing ------------------------------------------------------------------------------

    def addItem(self, item: Any) -> Any:
        """Keep a new note, under another name if its own is taken."""
        name = local_name(item.name)
        desk = self.desk
        path = desk.places.find(name)
        body = _body_of(item)
        modified = desk.work.now if item.modified is None else item.modified
        row = NoteRow(pysyncml.newID(), name, path, item.digest, lastmod=modified)
        row.extensions = dict(item.extensions)
        self._stage(desk, row, body, path)
        desk.places.claim(row, path)
        desk.index.put(row)
        self._keep_base(desk, row, body)
        item.id, item.name = row.id, row.name
        return item

    def replaceItem(self, item: Any, reportChanges: bool) -> str | None:
        """Keep a new version of a note; return how to get back to the one before."""
        row = self._row(item.id)
        self._adapt(item, row)
        name = local_name(item.name) if item.named else row.name
        old_name, changed = row.name, item.digest != row.sha256
        expected = self._expected(row, replaced=changed)
        if expected is None:
            raise pysyncml.ItemBusy(f'"{row.name}" has just been moved or deleted here')
        desk = self.desk
        body = _body_of(item) if changed else None
        keeps_way = reportChanges and changed and isinstance(body, bytes)
        old_body = self._old_body(row) if keeps_way else None
        path = desk.places.find(name, row) if name != row.name else row.path
        if changed:
            self._stage(desk, row, body, path, expected)
        elif path != row.path:
            desk.batch.move(row.id, row.path, path, expect=expected)
        desk.places.claim(row, path)
        row.name = name
        row.path = path
        if changed:
            row.sha256, row.stamp = item.digest, b''
        if item.extensions or item.named:
            row.extensions = dict(item.extensions)
        row.lastmod = item.modified if item.modified is not None else row.lastmod
        desk.index.put(row)
        if changed:
            self._keep_base(desk, row, body)
        item.name = row.name
        if not reportChanges or (changed and old_body is None):
            return None
        new_body = body if old_body is not None and isinstance(body, bytes) else None
        return self.spec(old_name, row.name, old_body, new_body)

    def deleteItem(self, itemID: str) -> None:
        """Put a note into the trash."""
        row = self._row(itemID)
        expected = self._expected(row)
        if expected is not None:
            self.desk.batch.delete(row.id, row.path, expect=expected, digest=row.sha256)
        self.desk.places.leave(row)
        self.desk.bodies.pop(row.id, None)
        self.desk.index.remove(row.id)

    def archiveItem(self, itemID: str) -> None:
        """Put a note into the trash, which is where all deleted notes are kept."""
        self.deleteItem(itemID)

    def checkpoint(self) -> Callable[[], None]:
        """Return what takes back all that is done from now on: no file has been touched yet."""
        return self.desk.checkpoint()

    def settleItems(self) -> Iterator[tuple[str, str | None]]:
        """The peer has sent all it has: give notes whose names are taken another one for good.

        That is for the server to decide; a client leaves it to its server.
        """
        if not self.engine.isServer:
            return
        places = self.desk.places
        places.settle()
        for row in places.waiting():
            yield row.id, places.give_in(row)

    def _stage(
        self, desk: Desk, row: NoteRow, body: Any, path: str, expected: bytes | None = None
    ) -> None:
        if isinstance(body, bytes):
            token = desk.batch.stage(body)
        else:
            token = desk.batch.adopt(body.move_to)
            body = self.storage.staged_body(token)
        source = row.path if expected is not None else None
        desk.batch.write(row.id, path, token, source, expected, row.sha256)
        desk.bodies[row.id] = body

    def _expected(self, row: NoteRow, *, replaced: bool = True) -> bytes | None:
        """Return the stamp of the file of *row*, after making sure that it is what we know.

        ``None`` if there is no file. One that is not *replaced*, but only renamed, may be open for
        writing: what is written goes with it.

        Raises:
            ItemBusy: somebody has changed it since we looked.
        """
        desk = self.desk
        if row.id in desk.bodies:
            return row.stamp
        origin = desk.places.origin(row)
        stat = desk.files.lstat(origin)
        if stat is None:
            return None
        now = stamp(stat)
        if now != row.stamp:
            digest, stat = self.storage.hash(origin)
            if digest != row.sha256:
                raise pysyncml.ItemBusy(f'"{row.name}" has just been changed here')
            now = stamp(stat)
        if replaced and self.storage.is_being_written(origin):
            raise pysyncml.ItemBusy(f'"{row.name}" is open in another program here')
        return bytes(now)

    def _old_body(self, row: NoteRow) -> bytes | None:
        try:
            return self._read(row) if self._content(row) is None else None
        except (pysyncml.SyncmlError, OSError):
            return None

    def _keep_base(self, desk: Desk, row: NoteRow, body: Any) -> None:
        if desk.keeps_texts:
            text = isinstance(body, bytes) and is_text(body)
            desk.index.set_base(row.id, body if text else None)

    def spec(
        self, old_name: str, new_name: str, old_body: bytes | None, new_body: bytes | None
    ) -> str:
        """Return the way back from a new name and body to the old ones."""
        before: dict[str, Any] = {'name': old_name}
        after: dict[str, Any] = {'name': new_name}
        if old_body is not None and new_body is not None:
            before['body'], after['body'] = old_body, new_body
        return self.mfactory.spec_of(before, after)

    # --- slow syncs and conflicts -------------------------------------------------------------

    def isSameItem(self, itemID: str, item: Any) -> bool:
        """Return whether a note of ours has the name and the content of *item*."""
        row = self._row(itemID)
        self._adapt(item, row)
        if row.sha256 != item.digest:
            return False
        return not item.named or (
            row.name == item.name and (row.extensions or {}) == item.extensions
        )

    def prefetch_matches(self, items: list[Any]) -> list[str]:
        """Load the rows of our notes that have the names, or the contents, of *items* at once."""
        index = self.desk.index
        names = {item.name for item in items if item.named}
        index.prefetch_named(names)
        unnamed = [item for item in items if not item.named]
        if unnamed:
            index.prefetch_contents({sha256 for item in unnamed for sha256 in _contents(item)})
        rows = [row for name in names for row in index.named(name)]
        return [row.id for row in (*rows, *(r for item in unnamed for r in self._with_text(item)))]

    def matchItem(self, item: Any) -> Note | None:
        """Return our note of the same name; for a peer that sends no names, of the same content."""
        rows = self.desk.index.named(item.name) if item.named else self._with_text(item)
        rows.sort(key=lambda row: row.sha256 != item.digest)
        return self._note(rows[0]) if rows else None

    def matchItems(self, item: Any) -> Iterator[Note]:
        """Yield our note of the same name; for a peer without names, all of the same content."""
        if item.named:
            match = self.matchItem(item)
            if match is not None:
                yield match
        else:
            yield from map(self._note, self._with_text(item))

    def _with_text(self, item: Any) -> list[NoteRow]:
        """Return our notes with the text of *item*, whatever became of its line ends."""
        found = map(self.desk.index.with_content, _contents(item))
        return next(filter(None, found), [])

    def _adapt(self, item: Any, row: NoteRow) -> None:
        """Give what a peer sends as plain text the name and the line ends of our note."""
        if item.named:
            return
        item.name = row.name
        if item.content is not None or item.digest == row.sha256:
            return
        try:
            if self._content(row) is not None:
                return
            ours = self._read(row)
        except (pysyncml.SyncmlError, OSError):
            return
        item.body = adapted(item.body or b'', ours)

    def mergeItems(self, localItem: Any, remoteItem: Any, changeSpec: str | None) -> str | None:
        """Merge what a peer sent with ours: the body line by line, and the name by itself."""
        if remoteItem.named and remoteItem.digest == localItem.digest:
            return self._merge_names(localItem, remoteItem, changeSpec)
        if changeSpec is None:
            raise pysyncml.ConflictError(f'{localItem} was changed on both sides')
        if localItem.content is not None or remoteItem.content is not None:
            raise pysyncml.ConflictError(f'{localItem} is too large to be merged')
        if not remoteItem.named:
            remoteItem.name = localItem.name
            remoteItem.body = adapted(remoteItem.body or b'', localItem.body)
        if b'\0' in localItem.body or b'\0' in remoteItem.body:
            raise pysyncml.ConflictError(f'{localItem} is no text')
        return super().mergeItems(localItem, remoteItem, changeSpec)

    def _merge_names(self, localItem: Any, remoteItem: Any, changeSpec: str | None) -> str | None:
        """Merge two versions of one text: nobody is helped by having it twice, so one name wins."""
        if changeSpec is not None:
            with contextlib.suppress(pysyncml.ConflictError):
                return super().mergeItems(localItem, remoteItem, changeSpec)
        remoteItem.extensions = {**localItem.extensions, **remoteItem.extensions}
        return self.replaceItem(remoteItem, True)

    def conflictItem(self, item: Any, label: str) -> Any:
        """Return the loser of a conflict as a note of its own."""
        item.id = None
        item.name = conflict_name(item.name, label)
        item.named = True
        return item

    def discardItem(self, item: Any, label: str) -> None:
        """Keep the loser of a conflict in the trash."""
        self.storage.trash.keep(item.name, _body_of(item))


def _body_of(item: Any) -> Any:
    """Return the body of an item: bytes, or the content of what is too large for that."""
    if item.left_out is not None:
        raise pysyncml.InvalidContent('the body of the note was left out')
    if item.content is not None:
        return item.content
    return item.body if item.body is not None else b''


def _contents(item: Any) -> Iterator[str]:
    """Yield the digests of a text, and of what it is with other line ends."""
    yield item.digest
    if item.content is None:
        for body in variants(item.body or b''):
            yield hashlib.sha256(body).hexdigest()


def is_text(body: bytes) -> bool:
    """Return whether a body can be merged line by line, and is not too large for that."""
    return len(body) <= TEXT_LIMIT and b'\0' not in body


def _made_name(title: str) -> str:
    """Return a file name for a note that came without one."""
    plain = re.sub(r'\s+', '_', _NOT_IN_NAMES.sub('', title[:1000]).strip())[:200]
    while len(plain.encode()) > 200:
        plain = plain[:-1]
    return (plain or 'note') + '.txt'


def _iso(when: float) -> str:
    return time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(max(0.0, min(when, 253402300799.0))))


def _seconds(text: str) -> float | None:
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    day, hour, minute, second = found[1], int(found[2]), int(found[3]), int(found[4])
    begins = _day(day) if hour < 24 and minute < 60 and second < 60 else None
    return None if begins is None else begins + 3600 * hour + 60 * minute + second


@functools.lru_cache(maxsize=256)
def _day(text: str) -> float | None:
    """Return when a day begins, in seconds since 1970."""
    try:
        return datetime(int(text[:4]), int(text[4:6]), int(text[6:]), tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _swapped(folder: str) -> str:
    return os.path.basename(folder).swapcase()
