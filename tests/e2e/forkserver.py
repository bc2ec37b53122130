"""Runs sync-notes in processes of their own, without paying for the imports each time.

``python forkserver.py`` imports everything the program needs, then reads one JSON object per line
from its standard input: ``{"id", "argv", "cwd", "env", "out", "err"}``. For each it forks; the
child calls :func:`pysyncml.cli.notes.main` with its standard output and error in those files and
ends with its exit code. What is answered, one JSON object per line: ``{"id", "pid"}`` and, when the
child has ended, ``{"id", "code"}`` (negative: the signal). When the input ends, all children are
killed. ``python forkserver.py --run ARGUMENTS`` is one run in this very process.

``E2E_RETRIES`` in the environment of a run, such as ``0.01,0.05``, are the seconds a client waits
before it sends a message again, the last of them also what ``--retry`` begins with;
``E2E_MESSAGE_SIZE`` the bytes a message may have; ``E2E_LARGE`` the bytes above which a note is
never held in memory (``E2E_PART`` those of a message with a part of it); ``E2E_UMASK`` the umask,
octal; ``E2E_PLUGIN`` a module whose ``install()`` is called before anything else, and whose
``finish()`` at the end.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import io
import json
import logging
import os
import select
import signal
import sys
import tempfile
import traceback
from typing import Any

_NEEDED = """
    _strptime ctypes cheroot.server cheroot.ssl.builtin cheroot.wsgi encodings.idna filelock
    lxml.etree
    multiprocessing pathspec platformdirs pyexpat requests rich.progress sqlalchemy.dialects.sqlite
    sqlalchemy.orm sqlite3 ssl urllib3
    pysyncml pysyncml.adapter pysyncml.agents pysyncml.cli pysyncml.cli.client pysyncml.cli.engine
    pysyncml.cli.model pysyncml.cli.notes pysyncml.cli.notes.agent pysyncml.cli.notes.index
    pysyncml.cli.notes.scan pysyncml.cli.overview pysyncml.cli.serve pysyncml.codec
    pysyncml.codec.xml pysyncml.context pysyncml.conversation pysyncml.service pysyncml.merge
    pysyncml.storage
    pysyncml.sync pysyncml.transport.adhoc pysyncml.transport.http pysyncml.transport.wsgi
""".split()


def main(argv: list[str]) -> int:
    """Serve, or do the one run that *argv* asks for."""
    if argv[:1] == ['--run']:
        return run(argv[1:])
    import_all()
    serve()
    return 0


def import_all() -> None:
    """Import what a run needs, as far as it is there."""
    for name in _NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f'forkserver: {error}', file=sys.stderr)
    warm_up()
    gc.collect()
    gc.freeze()  # the garbage collector must not touch what children share


def share_compiled() -> None:
    """Let all databases have one dialect, and what SQLAlchemy has compiled for it."""
    import sqlalchemy

    create_engine, first = sqlalchemy.create_engine, []

    def create(*args: Any, **values: Any) -> Any:
        engine: Any = create_engine(*args, **values)
        first.append(engine)
        engine.dialect = first[0].dialect
        engine._compiled_cache = first[0]._compiled_cache
        del first[1:]
        return engine

    sqlalchemy.create_engine = create


def warm_up() -> None:
    """Let everything be set up that is set up at the first use.

    First a run that finds no server, then two devices and a server, all in this thread: with more
    than one, the allocator would keep a place for each, and so would all children.
    """
    share_compiled()
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as top:
        folders = [os.path.join(top, name) for name in ('server', 'one', 'two')]
        for folder in folders:
            os.mkdir(folder)
        with open(os.path.join(folders[1], 'note'), 'wb') as note:
            note.write(b'x')
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            run(['--json', '--remote', 'http://127.0.0.1:1/', folders[1]])
            if meet(*folders):
                raise RuntimeError(f'warming up has failed: {said.getvalue()}')


def meet(served: str, *folders: str) -> int:
    """Let *folders* synchronise with the directory *served*, all in this process."""
    from in_process import WsgiTransport  # beside this program

    from pysyncml.cli.notes import NotesEngine

    server = NotesEngine().configure(['--server', '--quiet', served])
    application = server.wsgi()

    class Device(NotesEngine):
        def makeTransport(self) -> Any:
            return WsgiTransport(application)

    codes = []
    for folder in folders:
        device = Device().configure(['--json', '--remote', 'http://localhost/', folder])
        codes.append(device.run())
        device._finish()
    server._finish()
    return max(codes)


def run(argv: list[str]) -> int:
    """Run sync-notes in this process; return its exit code."""
    import pysyncml.cli.notes
    from pysyncml.protocol import auth

    plugin = os.environ.get('E2E_PLUGIN')
    if plugin:
        importlib.import_module(plugin).install()
    auth.COST = auth.Cost(4, 8, 1)  # an expensive one would be most of what a run costs
    if 'E2E_UMASK' in os.environ:
        os.umask(int(os.environ['E2E_UMASK'], 8))
    retries = os.environ.get('E2E_RETRIES')
    size = os.environ.get('E2E_MESSAGE_SIZE')
    if retries or size:
        import pysyncml.conversation

        if retries:
            import pysyncml.cli.retry

            pysyncml.conversation.RETRIES = tuple(map(float, retries.split(',')))
            pysyncml.cli.retry.FIRST = pysyncml.conversation.RETRIES[-1]
        if size:
            pysyncml.conversation.MESSAGE_SIZE = int(size)
    if 'E2E_LARGE' in os.environ:
        import pysyncml.adapter
        import pysyncml.cli.notes.agent
        import pysyncml.state.answers
        import pysyncml.state.unfinished
        from pysyncml.protocol.limits import Limits

        pysyncml.cli.notes.agent._LARGE = int(os.environ['E2E_LARGE'])
        pysyncml.state.unfinished.SMALL = int(os.environ['E2E_LARGE'])
        pysyncml.state.answers._LARGE = int(os.environ['E2E_LARGE'])
        part = int(os.environ['E2E_PART'])
        pysyncml.adapter.Limits = functools.partial(Limits, part=part)  # type: ignore[misc]
    sys.argv = ['sync-notes', *argv]
    try:
        return pysyncml.cli.notes.main(argv)
    except SystemExit as error:
        code = error.code
        return code if isinstance(code, int) else int(code is not None)


# --- the server ---------------------------------------------------------------------------------


def serve() -> None:
    """Answer requests until the input ends."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells us, too: not our business
    running: dict[int, Any] = {}
    buffer = b''
    say({'ready': os.getpid()})
    while True:
        readable, _, _ = select.select([0, wake_read], [], [])
        if wake_read in readable:
            drain(wake_read)
        reap(running)
        if 0 not in readable:
            continue
        data = os.read(0, 1 << 16)
        if not data:
            break
        *lines, buffer = (buffer + data).split(b'\n')
        for line in lines:
            order = json.loads(line)
            running[spawn(order, (wake_read, wake_write))] = order['id']
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def say(value: dict[str, Any]) -> None:
    """Answer with one line."""
    os.write(1, json.dumps(value).encode() + b'\n')


def drain(descriptor: int) -> None:
    """Read away what is there."""
    try:
        while os.read(descriptor, 4096):
            continue
    except BlockingIOError:
        return


def reap(running: dict[int, Any]) -> None:
    """Tell of the children that have ended."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        say({'id': running.pop(pid), 'code': os.waitstatus_to_exitcode(status)})


def spawn(order: dict[str, Any], private: tuple[int, ...]) -> int:
    """Start a child for *order*; return its process id."""
    pid = os.fork()
    if pid:
        say({'id': order['id'], 'pid': pid})
        return pid
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for descriptor in private:
            os.close(descriptor)
        code = child(order)
    except BaseException:
        traceback.print_exc()
    finally:
        finish(code)
    return 0


def child(order: dict[str, Any]) -> int:
    """Do what *order* says, in the child."""
    redirect(os.devnull, os.O_RDONLY, 0)
    redirect(order['out'], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 1)
    redirect(order['err'], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 2)
    sys.stdin = open(0, encoding='utf-8', closefd=False)  # noqa: SIM115 - stays open
    sys.stdout = open(1, 'w', encoding='utf-8', closefd=False)  # noqa: SIM115
    sys.stderr = open(2, 'w', encoding='utf-8', closefd=False, buffering=1)  # noqa: SIM115
    os.chdir(order['cwd'])
    os.environ.clear()
    os.environ.update(order['env'])
    return run(order['argv'])


def redirect(path: str, flags: int, target: int) -> None:
    """Open *path* as the descriptor *target*."""
    descriptor = os.open(path, flags, 0o600)
    os.dup2(descriptor, target)
    os.close(descriptor)


def finish(code: int) -> None:
    """End the child, with what was printed written out."""
    try:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        plugin = sys.modules.get(os.environ.get('E2E_PLUGIN', ''))
        if plugin is not None:
            plugin.finish()
    finally:
        os._exit(code)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
