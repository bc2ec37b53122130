"""What one synchronisation of one datastore came to, in numbers."""

# ruff: noqa: N815 - the documented names

from __future__ import annotations

from typing import Any

from pysyncml.constants import SyncType

_COUNTS = (
    'hereAdd',
    'hereMod',
    'hereDel',
    'hereErr',
    'peerAdd',
    'peerMod',
    'peerDel',
    'peerErr',
    'conflicts',
    'merged',
)


class Stats:
    """Count what was changed here, what was changed at the peer, and what went wrong.

    Attributes:
        mode: the :class:`~pysyncml.constants.SyncType` that was done; ``None`` before it is known.
        hereAdd, hereMod, hereDel: changes of the peer's that were carried out here.
        hereErr: changes of the peer's that could not be.
        peerAdd, peerMod, peerDel: changes from here that the peer has acknowledged.
        peerErr: changes from here that the peer refused.
        conflicts: conflicts that were left as they are.
        merged: conflicts that were settled, by a merge or by a policy.
        problems: one line for people about each item that failed.
        conflictNames: the items that were in conflict, as people know them.
    """

    mode: Any
    hereAdd: int
    hereMod: int
    hereDel: int
    hereErr: int
    peerAdd: int
    peerMod: int
    peerDel: int
    peerErr: int
    conflicts: int
    merged: int

    def __init__(self, mode: Any = None, **values: Any) -> None:
        self.mode = mode
        self.problems: list[str] = list(values.pop('problems', ()))
        self.conflictNames: list[str] = list(values.pop('conflictNames', ()))
        for name in _COUNTS:
            setattr(self, name, values.pop(name, 0))
        if values:
            raise TypeError(f'unknown statistics: {", ".join(sorted(values))}')

    @property
    def here(self) -> int:
        """Changes carried out here."""
        return self.hereAdd + self.hereMod + self.hereDel

    @property
    def peer(self) -> int:
        """Changes carried out at the peer."""
        return self.peerAdd + self.peerMod + self.peerDel

    @property
    def errors(self) -> int:
        """Changes that failed, on either side."""
        return self.hereErr + self.peerErr

    def values(self) -> dict[str, Any]:
        """Return everything by name, fit for JSON."""
        result: dict[str, Any] = {'mode': None if self.mode is None else int(self.mode)}
        result.update((name, getattr(self, name)) for name in _COUNTS)
        result['problems'] = list(self.problems)
        result['conflictNames'] = list(self.conflictNames)
        return result

    @classmethod
    def restore(cls, values: dict[str, Any]) -> Stats:
        """Return the statistics that :meth:`values` described."""
        values = dict(values)
        mode = values.pop('mode', None)
        return cls(None if mode is None else SyncType(mode), **values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stats) and self.values() == other.values()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = [f'{k}={v!r}' for k, v in self.values().items() if v not in (None, 0, [])]
        return f'Stats({", ".join(shown)})'
