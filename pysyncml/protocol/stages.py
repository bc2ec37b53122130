"""Who may say what, and when: the one table of the order of the protocol.

A session walks through the specification's packages (OMA-DS-Protocol 1.2, §5.1), here called
stages and seen from neither side::

                 client                          server
    SETUP   1    Put Get Alert …          2      Status Results Alert …
    SYNC    3    Sync (changes)           4      Status, Sync (changes)
    MAP     5    Status, Map              6      Status
    DONE         -                               -

``Final`` ends a stage for the one who says it. The client goes first in each stage: it may begin
when the server has finished the stage before; the server when the client has finished the
same one. Both sides run by this table, and each keeps track of both: whatever stands outside it
is refused with Status 405 when a peer says it, and is a bug when we do.
"""

from __future__ import annotations

from enum import IntEnum

from pysyncml.constants import Role


class Stage(IntEnum):
    """How far one side has come in a session."""

    SETUP = 0
    SYNC = 1
    MAP = 2
    DONE = 3

    @property
    def following(self) -> Stage:
        """The stage after this one; after ``DONE`` comes nothing else."""
        return Stage(min(self + 1, Stage.DONE))


_ALWAYS = frozenset({'Status', 'Alert', 'Results', 'Put', 'Get'})
_DATA = frozenset({'Sync', 'Map', 'Atomic', 'Sequence', 'Exec', 'Search'})
_STRAY = frozenset({'Add', 'Replace', 'Delete', 'Copy', 'Move'})

#: ``(role, stage)`` of the speaker → names of the commands it may say there.
#:
#: A client may send its Sync in the first package ("without separate initialization") and Map
#: pairs of an interrupted session before its changes. Device information may be asked for at any
#: time: some servers do so late.
LEGAL: dict[tuple[Role, Stage], frozenset[str]] = {
    (Role.CLIENT, Stage.SETUP): _ALWAYS | _DATA,
    (Role.CLIENT, Stage.SYNC): _ALWAYS | _DATA,
    (Role.CLIENT, Stage.MAP): _ALWAYS | {'Map'},
    (Role.CLIENT, Stage.DONE): frozenset({'Status', 'Alert', 'Map'}),
    (Role.SERVER, Stage.SETUP): _ALWAYS,
    (Role.SERVER, Stage.SYNC): _ALWAYS | _DATA - {'Map'},
    (Role.SERVER, Stage.MAP): _ALWAYS,
    (Role.SERVER, Stage.DONE): frozenset({'Status', 'Alert'}),
}


def is_legal(role: Role, stage: Stage, command: str) -> bool:
    """Return whether a side in *role* that has reached *stage* may say *command*.

    Data commands that stand outside of a Sync are never legal (OMA-DS-Protocol 1.2, §6).
    """
    return command not in _STRAY and command in LEGAL[role, stage]


def has_floor(role: Role, ours: Stage, theirs: Stage) -> bool:
    """Return whether the side in *role* may speak of its stage now."""
    if ours is Stage.DONE:
        return False
    return theirs >= ours if role is Role.CLIENT else theirs > ours
