"""Adds up what the crash campaign has tried, over all workers."""

from __future__ import annotations

from collections import Counter
from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many points there were of each kind."""
    tried: Counter[tuple[str, str]] = Counter()
    failed: Counter[tuple[str, str]] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, 'user_properties', ()):
                if name == 'crash' and getattr(report, 'when', '') == 'call':
                    fault, role, reached, wrong = value
                    tried[fault, role] += reached
                    failed[fault, role] += wrong
    if tried:
        terminalreporter.write_sep('-', 'points of failure')
        for (fault, role), count in sorted(tried.items()):
            line = f'{fault:8} {role:8} {count:6} reached, {failed[fault, role]} failed'
            terminalreporter.write_line(line)
        terminalreporter.write_line(f'{"":17} {sum(tried.values()):6} in all')
