"""What ``docs/lessons.rst`` says of each lesson: its tests exist, or there is a reason."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent
PAGE = (TESTS.parent / 'docs' / 'lessons.rst').read_text(encoding='utf-8')
_CELL = r'\n     - (.*(?:\n       .+)*)'
ROWS = {
    int(number): (rule, text)
    for number, rule, text in re.findall(rf'^   \* - (\d+){_CELL * 2}', PAGE, re.M)
}

#: Those that no test holds; what is said instead is the reason.
WITHOUT = {24}


def _functions() -> set[str]:
    sources = [path.read_text(encoding='utf-8') for path in TESTS.rglob('test_*.py')]
    return {name for source in sources for name in re.findall(r'^ *def (test_\w+)', source, re.M)}


def test_every_lesson_is_there():
    assert sorted(ROWS) == list(range(1, 26))
    assert all(len(rule) > 20 for rule, _ in ROWS.values())


def test_every_lesson_has_its_tests_or_a_reason():
    names = _functions()
    for number, (_, text) in ROWS.items():
        named = set(re.findall(r'``(test_\w+)``', text))
        assert named <= names, f'{number}: {named - names}'
        assert bool(named) is (number not in WITHOUT), number
        reason = re.sub(r'``test_\w+``,?\s*', '', text).strip()
        assert named or len(reason) > 40, f'{number}: neither a test nor a reason'


def test_every_test_of_a_lesson_is_named():
    for name in _functions():
        found = re.match(r'test_lesson_(\d\d)_', name)
        if found:
            assert f'``{name}``' in ROWS[int(found[1])][1], name
