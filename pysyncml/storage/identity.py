"""The identity of a directory: a random id in its state folder.

The state database knows it too. So an empty or exchanged directory is not taken for the one that
was synchronised before.
"""

from __future__ import annotations

import os
import secrets

from pysyncml.storage.files import Tree, sync

_SIZE = 64


def read_identity(state: Tree) -> str | None:
    """Return the id in the state folder; ``None`` if there is none, or none that makes sense."""
    try:
        with open(state.path('identity'), encoding='ascii') as file:
            text = file.read(_SIZE).strip()
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        return None
    return text if text.isalnum() else None


def make_identity(state: Tree) -> str:
    """Write a new id into the state folder, and return it."""
    identity = secrets.token_hex(16)
    path = state.path('identity')
    fd = os.open(f'{path}.new', os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, 'w', encoding='ascii') as file:
        file.write(f'{identity}\n')
    sync([f'{path}.new'], whole=state.root)
    os.replace(f'{path}.new', path)
    sync([state.root], whole=state.root)
    return identity
