"""Two Sphinx directives that draw the order of the protocol from the code that enforces it.

``stage-table`` writes who may say what at which stage; ``stage-diagram`` plays a session by the
rule of :func:`pysyncml.protocol.stages.has_floor` and draws who speaks when.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from pysyncml.constants import Role
from pysyncml.protocol.stages import LEGAL, Stage, has_floor

#: Worth saying first: what a stage is for. The others follow by name.
_FIRST = ('Alert', 'Sync', 'Map', 'Status')
_PURPOSE = {
    (Role.CLIENT, Stage.SETUP): 'Alert (the kind of sync, anchors), Put, Get',
    (Role.SERVER, Stage.SETUP): 'Status, Alert, Results',
    (Role.CLIENT, Stage.SYNC): 'Status, Sync (changes)',
    (Role.SERVER, Stage.SYNC): 'Status, Sync (changes)',
    (Role.CLIENT, Stage.MAP): 'Status, Map (new ids)',
    (Role.SERVER, Stage.MAP): 'Status',
}
_WIDTH = 60


def table_rows() -> list[tuple[str, str, str]]:
    """Return (stage, what the client may say, what the server may say)."""
    return [
        (stage.name, *(_words(LEGAL[role, stage]) for role in (Role.CLIENT, Role.SERVER)))
        for stage in Stage
    ]


def _words(commands: frozenset[str]) -> str:
    def order(name: str) -> tuple[int, str]:
        return (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)

    return ', '.join(sorted(commands, key=order))


def packages() -> list[tuple[Role, Stage]]:
    """Return who speaks of which stage, one after the other, until both are done."""
    stages = dict.fromkeys(Role, Stage.SETUP)
    spoken = []
    role = Role.CLIENT
    while not all(stage is Stage.DONE for stage in stages.values()):
        if not has_floor(role, stages[role], stages[role.other]):
            raise ValueError(f'by the table nobody may speak any more: {stages}')
        spoken.append((role, stages[role]))
        stages[role] = stages[role].following
        role = role.other
    return spoken


def diagram() -> str:
    """Return a session as a drawing in text, one arrow for each package."""
    lines = ['client'.ljust(_WIDTH + 12) + 'server', '']
    for number, (role, stage) in enumerate(packages(), 1):
        text = f' {number} {stage.name}: {_PURPOSE[role, stage]} '
        line = text.center(_WIDTH, '-')
        arrow = f'--{line}->' if role is Role.CLIENT else f'<-{line}--'
        lines.append('  |   ' + arrow.ljust(_WIDTH + 5) + ' |')
    return '\n'.join(lines)


class StageTable(Directive):
    """The table."""

    def run(self) -> list[nodes.Node]:
        """Return the nodes of the table."""
        rows = ['.. list-table::', '   :header-rows: 1', '   :widths: 10 50 40', '']
        for row in (('stage', 'the client may say', 'the server may say'), *table_rows()):
            rows += [f'   {"*" if n == 0 else " "} - {cell}' for n, cell in enumerate(row)]
        box = nodes.container()
        self.state.nested_parse(StringList(rows, 'stages.py'), self.content_offset, box)
        return box.children


class StageDiagram(Directive):
    """The drawing."""

    def run(self) -> list[nodes.Node]:
        """Return the node of the drawing."""
        block = nodes.literal_block(text=diagram())
        block['language'] = 'none'
        return [block]


def setup(app: Any) -> dict[str, Any]:
    """Tell Sphinx of the directives."""
    app.add_directive('stage-table', StageTable)
    app.add_directive('stage-diagram', StageDiagram)
    return {'version': '1', 'parallel_read_safe': True, 'parallel_write_safe': True}
