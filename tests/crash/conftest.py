"""Adds up what the crash campaign has tried, over all workers."""

from __future__ import annotations

from collections import Counter
from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many points there were of each kind."""
    tried: Counter[tuple[str, str, str]] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, 'user_properties', ()):
                if name == 'crash' and getattr(report, 'when', '') == 'call':
                    tried[tuple(value)] += 1
    if tried:
        terminalreporter.write_sep('-', 'points of failure')
        for (fault, role, how), count in sorted(tried.items()):
            terminalreporter.write_line(f'{fault:8} {role:8} {how:8} {count:6}')
        terminalreporter.write_line(f'{"":26} {sum(tried.values()):6}')
