"""A program written as the documented sample is runs on the library as it is, in both roles."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name('classic_notes.py')
ENVIRONMENT = {**os.environ, 'PYTHONPATH': str(PROGRAM.parents[2])}


def run(*argv):
    command = [sys.executable, str(PROGRAM), *map(str, argv)]
    result = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout


def tree(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def places(tmp_path):
    folders = {name: tmp_path / name for name in 'sab'}
    for folder in folders.values():
        folder.mkdir()
    server = subprocess.Popen(
        [sys.executable, str(PROGRAM), '--server', '--listen', '127.0.0.1:0', folders['s']],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    folders['url'] = re.search(r'http://\S+', server.stdout.readline())[0]
    yield folders
    server.terminate()
    server.communicate(timeout=30)


def test_a_program_written_like_the_documented_one(places):
    s, a, b, url = (places[name] for name in ('s', 'a', 'b', 'url'))
    (a / 'one.txt').write_text('line\n' * 9)
    (a / 'two.txt').write_text('two\n')
    (s / 'three.txt').write_text('three\n')
    run('--remote', url, a)
    run('--remote', url, b)
    assert tree(s) == tree(a) == tree(b)
    assert len(tree(s)) == 3

    (a / 'one.txt').write_text('first\n' + 'line\n' * 9)
    (b / 'one.txt').write_text('line\n' * 9 + 'last\n')
    (b / 'two.txt').unlink()
    (b / 'four.txt').write_text('four\n')
    for client in (a, b, a):
        run(client)
    assert tree(s) == tree(a) == tree(b)
    assert tree(s)['one.txt'] == b'first\n' + b'line\n' * 9 + b'last\n'
    assert sorted(tree(s)) == ['four.txt', 'one.txt', 'three.txt']

    assert 'No changes.' in run(a)
    assert 'Filenames: yes' in run('--describe', a)
    (a / 'five.txt').write_text('five\n')
    assert 'Note "five.txt": added' in run('--local', a)
