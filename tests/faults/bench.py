"""A server and its clients in one process, without a network: the programs, hundreds of times.

Everything is as in the real program, from the arguments to the exit code, but that messages go
from the client to the server's WSGI application by a call.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pysyncml.cli.notes import NotesEngine
from tests.e2e.harness import COUNTS, Result
from tests.e2e.in_process import WsgiTransport

URL = 'http://faults.example/'

ROUNDS = 6  # of synchronising, within which everything must be settled


class Bench:
    """Directories below *root*: ``s`` is served, all others are clients' directories."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.said = ''
        self._engine: Any = None
        self._server: Any = None

    def path(self, name: str) -> Path:
        """Return the directory *name*, which is made if needed."""
        path = self.root / name
        path.mkdir(exist_ok=True)
        return path

    def tree(self, name: str) -> dict[str, bytes]:
        """Return relative path → content of all notes in a directory."""
        top = self.path(name)
        return {
            path.relative_to(top).as_posix(): path.read_bytes()
            for path in sorted(top.rglob('*'))
            if path.is_file() and '.sync' not in path.parts
        }

    def same(self, *names: str) -> dict[str, bytes]:
        """Assert that directories are equal; return what they hold."""
        trees = [self.tree(name) for name in names]
        assert all(tree == trees[0] for tree in trees), dict(zip(names, trees, strict=True))
        return trees[0]

    # --- runs ---------------------------------------------------------------------------------

    def server(self, *options: str) -> None:
        """Start to serve the directory ``s``; harmless if that is done already."""
        if self._engine is None:
            with self._listened() as said:
                argv = ['--server', '--allow-deletions', *options, str(self.path('s'))]
                engine = NotesEngine()
                try:
                    engine.configure(argv)
                    self._server = engine.wsgi()
                except SystemExit:
                    self.said += said.getvalue()
                    raise
                except Exception as error:  # what the program itself makes of it when it runs
                    code = engine._failed(error, said)
                    engine._finish()
                    self.said += said.getvalue()
                    raise SystemExit(code) from None
                self._engine = engine
            self.said += said.getvalue()

    def stop(self) -> None:
        """Stop serving."""
        if self._engine is not None:
            self._engine._finish()
            self._engine = self._server = None

    def sync(self, name: str, *options: str, code: int | None = None) -> Result:
        """Synchronise the directory *name* with the server, as its client."""
        self.server()
        out = io.StringIO()
        with self._listened() as said:
            engine = NotesEngine()
            engine.makeTransport = lambda: WsgiTransport(self._server)
            argv = ['--json', '--allow-deletions', '--remote', URL, *options]
            try:
                engine.configure([*argv, str(self.path(name))])
                found = engine.run(stdout=out, stderr=sys.stderr)
            except SystemExit as ended:
                found = int(ended.code or 0)
        err = said.getvalue()
        self.said += err
        lines = [json.loads(line) for line in out.getvalue().splitlines()]
        stats = next((v['stats'].get('notes', {}) for v in lines if v.get('stats')), {})
        result = Result(found, out.getvalue(), err, stats, lines)
        shown = f'exit code {result.code}: {result.out}\n{result.err}'
        assert 'Traceback' not in err and 'nternal error' not in err, shown
        assert code is None or result.code == code, shown
        return result

    @contextlib.contextmanager
    def _listened(self) -> Iterator[io.StringIO]:
        said = io.StringIO()
        root = logging.getLogger()
        before = list(root.handlers)
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            handler = logging.StreamHandler(said)
            root.addHandler(handler)
            try:
                yield said
            finally:
                for one in root.handlers[:]:
                    if one not in before:
                        root.removeHandler(one)

    # --- the end ------------------------------------------------------------------------------

    def settle(self, *names: str) -> dict[str, bytes]:
        """Synchronise until nothing moves; assert that all is well and equal; return the tree."""
        seen = []
        for _ in range(ROUNDS):
            results = {name: self.sync(name) for name in names}
            if all(result.code == 0 and not result.moved for result in results.values()):
                for result in results.values():
                    assert {count: result.stats[count] for count in COUNTS} == dict.fromkeys(
                        COUNTS, 0
                    )
                return self.same('s', *names)
            seen += [(n, r.code, r.moved, r.err) for n, r in results.items()]
        raise AssertionError(f'there is always something to do: {seen}')

    def trashed(self, name: str) -> list[bytes]:
        """Return the contents of all that lies in the trash of a directory."""
        top = self.path(name) / '.sync' / 'trash'
        return [path.read_bytes() for path in top.rglob('*') if path.is_file()]

    def close(self) -> None:
        """Stop all, and remove the directories."""
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)


def fresh_copy(template: Path, target: Path) -> Bench:
    """Return a bench in *target* that goes on from where the one in *template* is."""
    shutil.copytree(template, target, symlinks=True)
    return Bench(target)


def in_turn(*steps: Callable[[], Any]) -> None:
    """Do *steps*."""
    for step in steps:
        step()


__all__ = ['URL', 'Bench', 'fresh_copy', 'os']
