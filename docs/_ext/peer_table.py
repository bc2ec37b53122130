"""A Sphinx directive, ``peer-table``, that writes the table of known peers from the code."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from pysyncml.protocol.quirks import KNOWN_PEERS, KnownPeer, Quirks

_SIGNS = {
    'manufacturer': 'manufacturer',
    'model': 'model',
    'software': 'version',
    'dev_id': 'id or address',
}


def table_rows() -> list[tuple[str, str, str, str]]:
    """Return (peer, what it is known by, why, which habits it has)."""
    return [(row.name, _signs(row), row.reason, _habits(row.quirks)) for row in KNOWN_PEERS]


def _signs(row: KnownPeer) -> str:
    said = [(words, getattr(row, name)) for name, words in _SIGNS.items()]
    return ', '.join(f'{words} ``{pattern}``' for words, pattern in said if pattern)


def _habits(quirks: Quirks) -> str:
    usual = Quirks()
    different = [
        f.name for f in fields(quirks) if getattr(quirks, f.name) != getattr(usual, f.name)
    ]
    return ', '.join(_habit(name, getattr(quirks, name)) for name in different) or 'none'


def _habit(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f'``{name}``' if value else f'not ``{name}``'
    if isinstance(value, str):
        return f'``{name}``: {value}'
    said = (f'{command} {int(code)} → {int(instead)}' for (command, code), instead in value.items())
    return f'``{name}``: {", ".join(said)}'


class PeerTable(Directive):
    """The table."""

    def run(self) -> list[nodes.Node]:
        """Return the nodes of the table."""
        lines = ['.. list-table::', '   :header-rows: 1', '   :widths: 15 20 40 25', '']
        for row in (('peer', 'known by', 'why', 'habits'), *table_rows()):
            lines += [f'   {"*" if n == 0 else " "} - {cell}' for n, cell in enumerate(row)]
        box = nodes.container()
        self.state.nested_parse(StringList(lines, 'quirks.py'), self.content_offset, box)
        return box.children


def setup(app: Any) -> dict[str, Any]:
    """Tell Sphinx of the directive."""
    app.add_directive('peer-table', PeerTable)
    return {'version': '1', 'parallel_read_safe': True, 'parallel_write_safe': True}
