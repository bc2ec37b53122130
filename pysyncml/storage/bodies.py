"""The content of a file that is too large for memory: read piece by piece, where it lies."""

from __future__ import annotations

import os

from pysyncml.errors import InvalidName, ItemBusy
from pysyncml.storage import files
from pysyncml.storage.allocator import keep_memory


class FileBody:
    """A file that is read piece by piece, as long as it is what it was.

    Args:
        tree: where it lies.
        key: its name there.
        size: its bytes.
        stamp: what it looked like when its content was known (:func:`~.files.stamp`).
    """

    def __init__(self, tree: files.Tree, key: str, size: int, stamp: bytes) -> None:
        keep_memory()
        self.size = size
        self._tree = tree
        self._key = key
        self._stamp = stamp

    def read_at(self, start: int, count: int) -> bytes:
        """Return *count* bytes from *start* on; fewer only at the end.

        Raises:
            ItemBusy: the file is not what it was any more.
        """
        count = min(count, self.size - start)
        try:
            with self._tree.at(self._key) as spot:
                fd = files.open_file(spot)
            try:
                before = files.stamp(os.fstat(fd))
                with os.fdopen(fd, 'rb', buffering=0, closefd=False) as file:
                    file.seek(start)
                    data = file.read(count)
                after = files.stamp(os.fstat(fd))
            finally:
                os.close(fd)
        except (OSError, InvalidName):
            raise self._changed() from None
        if not before == after == self._stamp or len(data) != count:
            raise self._changed()
        return data

    def _changed(self) -> ItemBusy:
        return ItemBusy(f'"{self._key}" has just been changed; it is left for later')
