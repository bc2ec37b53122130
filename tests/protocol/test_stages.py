"""The table of the order of the protocol: every cell, spelled out a second time."""

from __future__ import annotations

import itertools

import pytest

from pysyncml.constants import Role
from pysyncml.protocol import messages
from pysyncml.protocol.stages import LEGAL, Stage, has_floor, is_legal

COMMANDS = sorted(
    kind.name
    for kind in vars(messages).values()
    if isinstance(kind, type) and issubclass(kind, messages.Command) and kind.name
)

# who, when: Add Alert Atomic Copy Delete Exec Get Map Move Put Replace Results Search Sequence
# Status Sync
TABLE = """
    client SETUP   - + + - - + + + - + - + + + + +
    client SYNC    - + + - - + + + - + - + + + + +
    client MAP     - + - - - - + + - + - + - - + -
    client DONE    - + - - - - - + - - - - - - + -
    server SETUP   - + - - - - + - - + - + - - + -
    server SYNC    - + + - - + + - - + - + + + + +
    server MAP     - + - - - - + - - + - + - - + -
    server DONE    - + - - - - - - - - - - - - + -
"""
CELLS = [
    (Role(role), Stage[stage], command, mark == '+')
    for role, stage, *marks in (line.split() for line in TABLE.strip().splitlines())
    for command, mark in zip(COMMANDS, marks, strict=True)
]


@pytest.mark.parametrize(('role', 'stage', 'command', 'legal'), CELLS)
def test_every_cell(role, stage, command, legal):
    assert is_legal(role, stage, command) is legal


def test_the_table_is_whole():
    assert set(LEGAL) == set(itertools.product(Role, Stage))
    assert {(role, stage) for role, stage, *_ in CELLS} == set(LEGAL)
    assert len(CELLS) == len(LEGAL) * len(COMMANDS)


@pytest.mark.parametrize('command', ['', 'Refused', 'SyncHdr', 'sync', 'Final'])
def test_nothing_else_is_legal(command):
    assert not any(is_legal(role, stage, command) for role in Role for stage in Stage)


# rows: our stage; columns: theirs
FLOOR = {
    Role.CLIENT: """
        + + + +
        - + + +
        - - + +
        - - - -
    """,
    Role.SERVER: """
        - + + +
        - - + +
        - - - +
        - - - -
    """,
}


@pytest.mark.parametrize('role', Role)
def test_who_has_the_floor(role):
    rows = [line.split() for line in FLOOR[role].strip().splitlines()]
    for ours, theirs in itertools.product(Stage, Stage):
        assert has_floor(role, ours, theirs) is (rows[ours][theirs] == '+'), (ours, theirs)


def test_never_both_and_never_nobody():
    """In every situation two sides can get into, exactly one has the floor, until the end."""
    ours = theirs = Stage.SETUP
    spoken = []
    while (ours, theirs) != (Stage.DONE, Stage.DONE):
        client = has_floor(Role.CLIENT, ours, theirs)
        assert client is not has_floor(Role.SERVER, theirs, ours)
        spoken.append((client, ours if client else theirs))
        if client:
            ours = ours.following
        else:
            theirs = theirs.following
    assert spoken == [(who, stage) for stage in list(Stage)[:3] for who in (True, False)]


def test_stages_follow_one_another():
    assert [stage.following for stage in Stage] == [Stage.SYNC, Stage.MAP, Stage.DONE, Stage.DONE]
