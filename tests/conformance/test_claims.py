"""What ``docs/conformance.rst`` claims, and which scenarios are played."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
PAGE = (TESTS.parent / 'docs' / 'conformance.rst').read_text(encoding='utf-8')

#: Scenarios that need not have tests of their number yet; number 76 is about files.
OPEN = {8, 9, *range(50, 55), *range(61, 65), *range(66, 69), *range(72, 75)}


def _functions(folder: Path) -> set[str]:
    """Return the names of all tests below *folder*."""
    sources = [path.read_text(encoding='utf-8') for path in folder.rglob('test_*.py')]
    return {name for source in sources for name in re.findall(r'^ *def (test_\w+)', source, re.M)}


def test_every_test_that_is_named_exists():
    named = set(re.findall(r'``(test_\w+)``', PAGE))
    assert len(named) > 40
    assert named - _functions(TESTS) == set()


def _rows():
    cell = r'\n     - (.*(?:\n       .+)*)'
    return re.findall(rf'^   \* - (.+){cell * 5}', PAGE, re.M)


def test_every_yes_is_proved_and_every_no_is_explained():
    rows = [row for row in _rows() if row[0] != 'feature']
    assert len(rows) > 50
    for feature, _, _, server, client, text in rows:
        assert {server, client} <= {'yes', 'no'}, feature
        if 'yes' in (server, client):
            assert '``test_' in text, f'{feature}: no test'
        if 'no' in (server, client):
            assert re.sub(r'``test_\w+``,? ?', '', text).strip(), f'{feature}: no reason'


def test_every_scenario_is_played():
    """Each number from 1 to 75 has a test, or is named as open."""
    names = _functions(TESTS / 'conformance')
    played = {int(number) for name in names for number in re.findall(r'^test_(\d\d)_', name)}
    assert played <= set(range(1, 77))
    assert set(range(1, 76)) - played <= OPEN
