"""Names of implementations and where to find them.

A target is a class (or any object) or a dotted path ``package.module:name``, imported when it
is first asked for. Other packages announce theirs as entry points, which are read only when a
name is not known otherwise.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import Any

from pysyncml.errors import UsageError


class Registry:
    """Implementations of one kind by name.

    Args:
        kind: what they are, for messages: ``codec``.
        group: the entry points that other packages announce theirs in: ``pysyncml.codecs``.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self._targets: dict[str, tuple[Any, str]] = {}

    def register(self, name: str, target: Any, *, replace: bool = False, hint: str = '') -> None:
        """Give *target* a name.

        *hint* is shown when the target cannot be imported: what to install.

        Raises:
            ValueError: the name is taken, and *replace* is not set.
        """
        if name in self._targets and not replace:
            raise ValueError(f'there is a {self.kind} called "{name}" already')
        self._targets[name] = (target, hint)

    def names(self) -> list[str]:
        """Return all names, also those other packages announce."""
        announced = {entry.name for entry in entry_points(group=self.group)}
        return sorted(announced | set(self._targets))

    def get(self, name: str) -> Any:
        """Return the implementation called *name*.

        Raises:
            UsageError: there is none, or it cannot be imported.
        """
        target, hint = self._targets.get(name, (None, ''))
        if target is None:
            target = self._announced(name)
        if isinstance(target, str):
            module, _, attribute = target.partition(':')
            try:
                target = getattr(importlib.import_module(module), attribute)
            except ImportError as error:
                raise UsageError(
                    f'the {self.kind} "{name}" is not usable: {error} {hint}'
                ) from None
            self._targets[name] = (target, hint)
        return target

    def _announced(self, name: str) -> Any:
        for entry in entry_points(group=self.group, name=name):
            return entry.load()
        raise UsageError(f'there is no {self.kind} "{name}"; known are: {", ".join(self.names())}')
