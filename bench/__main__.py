"""``python -m bench``: run the cases, print what they cost, and compare with the goals."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, fields
from pathlib import Path

from bench.cases import CASES, Round
from bench.goals import GOALS
from bench.measure import Cost, compiled

Medians = dict[tuple[str, int, str], Cost]


def main() -> int:
    """Run what the arguments ask for."""
    chosen = _arguments()
    root = Path(tempfile.mkdtemp(prefix='bench-', dir=chosen.folder))
    medians: Medians = {}
    compiled()
    try:
        for name in chosen.cases or CASES:
            case, sizes, rounds = CASES[name]
            for size in chosen.sizes or sizes:
                if size > chosen.most:
                    continue
                print(f'\n{name}, {size:,}: {case.__doc__}', flush=True)
                found = list(case(root / name, size, chosen.rounds or rounds))
                for part, cost in _medians(found).items():
                    medians[name, size, part] = cost
                    print(_line(part, cost), flush=True)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    goals = list(_goals(medians))
    if goals:
        print(
            '\ngoal                                                                   is   at most'
        )
        for goal, figure in goals:
            mark = '' if figure <= goal.most else '  (missed)'
            print(f'{goal.number}  {goal.what:62} {figure:8.2f} {goal.most:8g} {goal.unit}{mark}')
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(_document(medians, goals), indent=1) + '\n')
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='python -m bench', description=__doc__)
    parser.add_argument('cases', nargs='*', choices=[[], *CASES], help='all of them by default')
    parser.add_argument('--sizes', type=int, nargs='+', help='how many notes (large: MB)')
    parser.add_argument('--most', type=int, default=sys.maxsize, help='no larger sizes than this')
    parser.add_argument('--rounds', type=int, help='how often each is measured')
    parser.add_argument('--json', metavar='FILE', help='write the results there as well')
    parser.add_argument('--folder', help='where the trees are made; a temporary folder by default')
    return parser.parse_args()


def _medians(rounds: list[Round]) -> Round:
    parts = list(dict.fromkeys(part for found in rounds for part in found))
    result = {}
    for part in parts:
        costs = [found[part] for found in rounds if part in found]
        values = {
            field.name: statistics.median(getattr(cost, field.name) for cost in costs)
            for field in fields(Cost)
        }
        result[part] = Cost(**values)
    return result


def _line(part: str, cost: Cost) -> str:
    text = f'  {part:22} wall {cost.wall:8.3f} s   CPU {cost.both:8.3f} s'
    if cost.server_cpu or cost.server_peak:
        text += f' (client {cost.cpu:.3f}, server {cost.server_cpu:.3f})'
        return f'{text}   peak {cost.peak:.0f} and {cost.server_peak:.0f} MB'
    return f'{text}   peak {cost.peak:.0f} MB'


def _goals(medians: Medians):
    for goal in GOALS:
        try:
            yield goal, goal.figure(medians)
        except KeyError:
            continue  # not measured in this run, or without the yardstick


def _document(medians: Medians, goals: list) -> dict:
    return {
        'date': time.strftime('%Y-%m-%d'),
        'machine': f'{platform.machine()}, {platform.platform()}',
        'python': platform.python_version(),
        'results': [
            {'case': case, 'size': size, 'part': part, **asdict(cost)}
            for (case, size, part), cost in medians.items()
        ],
        'goals': [
            {'number': g.number, 'what': g.what, 'most': g.most, 'unit': g.unit, 'is': figure}
            for g, figure in goals
        ],
    }


if __name__ == '__main__':
    raise SystemExit(main())
