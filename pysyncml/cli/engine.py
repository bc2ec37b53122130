"""The command line engine: from arguments to an exit code, with hooks on the way.

A program is a subclass that names itself, brings an agent, and tags methods with
:func:`~pysyncml.cli.hooks.hook`. What is heavy (the database, XML, HTTP) is imported when it is
needed, so that ``--help`` is there at once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TextIO

from pysyncml.cli import logs, options
from pysyncml.cli.failures import explain
from pysyncml.cli.folders import make_private
from pysyncml.cli.hooks import HookHost
from pysyncml.cli.locks import locked
from pysyncml.cli.progress import Progress, progress_for
from pysyncml.cli.report import describe_pending, forgiving, printable, write_json
from pysyncml.constants import ExitCode
from pysyncml.errors import InvalidAgent, LogicalError, UsageError
from pysyncml.util import adict, new_device_id

log = logging.getLogger('pysyncml.cli')

_SAVED = 'cli'  # the key of our options among those of the context


class CommandLineSyncEngine(HookHost):
    """A command line program that synchronises what one agent looks after.

    Args:
        appLabel: short name without blanks: part of the device id, URI of the datastore.
        appDisplay: the name for people.
        appModelVersion: version of the program's own tables; kept for the program.
        defaultDevID: the id of this device; default: the label and a random part.
        defaultListen: the port of the server, unless ``--listen`` says otherwise.
        devinfoParams: what to say of this device, see :class:`~pysyncml.DeviceInfo`.
        storeParams: what to say of the datastore, see :class:`~pysyncml.Store`.
        agent: the agent; it may be set later, until the first ``adapter.create`` event.
        hooks: list of (name of an event, functions).

    All of these are attributes, beside ``dataDir`` (where the state lives, ends with ``/``),
    ``parser``, ``options`` (all options), ``said`` (names of those given this time),
    ``context``, ``model`` and ``serverConf`` (port, policy and user; server only).
    """

    #: what one thing synchronised is called, for messages
    itemNoun = 'item'
    #: what this state database is called, inside dataDir
    databaseName = 'state.db'

    dataDir: str | None = None
    parser: Any = None
    options: Any = None
    said: frozenset[str] = frozenset()
    context: Any = None
    model: Any = None
    serverConf: Any = None
    readonly = False
    #: what is to be done while a server prepares its first answer; None where nothing can wait
    deferred: list[Callable[[], None]] | None = None

    def __init__(
        self,
        appLabel: str,
        appDisplay: str | None = None,
        appModelVersion: Any = None,
        defaultDevID: str | None = None,
        defaultListen: int | str = 8080,
        devinfoParams: Mapping[str, Any] | None = None,
        storeParams: Mapping[str, Any] | None = None,
        agent: Any = None,
        hooks: Iterable[tuple[str, Iterable[Callable[..., Any]]]] | None = None,
    ) -> None:
        self.appLabel = appLabel
        self.appDisplay = appDisplay or appLabel
        self.appModelVersion = appModelVersion
        self.defaultDevID = defaultDevID
        self.defaultListen = defaultListen
        self.devinfoParams = dict(devinfoParams or {})
        self.storeParams = dict(storeParams or {})
        self.agent = agent
        self.addHooks(hooks or ())
        self.stdout: TextIO = sys.stdout
        self.stderr: TextIO = sys.stderr
        self.progress = Progress(sys.stderr, shown=False)
        self._showing = logs.Showing()
        self._saved: dict[str, Any] = {}

    # --- what programs use -----------------------------------------------------------------------

    @property
    def dbengine(self) -> Any:
        """The SQLAlchemy engine of the state database."""
        return self.context.sa_engine

    @property
    def dbsession(self) -> Any:
        """The ORM session of the current unit of work; there is one in every hook after
        ``model.setup.init`` and in every call of the agent."""  # fmt: skip
        return self.context.dbsession

    @property
    def isServer(self) -> bool:
        """Whether this run serves; otherwise it is a client's."""
        return bool(self.options and self.options.server)

    @property
    def place(self) -> str:
        """What is synchronised, for messages."""
        return printable(self.dataDir)

    @property
    def deviceName(self) -> str:
        """What others see of this device: ``--name``, else the name of the computer."""
        import socket

        return self.options.name or socket.gethostname() or self.appDisplay

    def examples(self) -> str:
        """Return the text that ``--help`` ends with, before the exit codes."""
        return ''

    def makeContext(self, storage: Any, directory: str | None) -> Any:
        """Return the context for the database *storage*, by default one in memory."""
        from pysyncml.context import Context

        return Context(storage=storage, directory=directory)

    def makeTransport(self) -> Any:
        """Return what carries a client's messages to its server."""
        from pysyncml.cli.passwords import http_login
        from pysyncml.transport.http import HTTPTransport

        chosen = self.options
        username, password = http_login(chosen.httpLogin)
        transport = HTTPTransport(
            verify=chosen.caFile or not chosen.insecure,
            username=username,
            password=password,
            fingerprint=chosen.fingerprint,
        )
        if chosen.timeout:
            transport.limit(float(chosen.timeout))
        return transport

    def defer(self, action: Callable[[], None]) -> bool:
        """Have *action* done, in a unit of work, while the server prepares its first answer.

        For looking through the data of a client, in the hook ``adapter.create.store``: while the
        server looks through its own. Until the first answer nobody asks for changes.

        Returns:
            Whether it will be done then; otherwise it has to be done now.
        """
        if self.deferred is None:
            return False
        self.deferred.append(action)
        return True

    def describe(self, stream: TextIO) -> None:
        """Write the configuration of the program and of all devices, as ``--describe`` does."""
        from pysyncml.cli import overview

        overview.describe(self, stream)

    # --- configure -------------------------------------------------------------------------------

    def configure(self, argv: list[str] | None = None) -> CommandLineSyncEngine:
        """Read the arguments (default: those of the process) and get everything ready.

        Raises:
            SystemExit: the arguments or the state cannot be used; the reason was printed.
        """
        try:
            self._configure(options.arguments_of(argv))
        except (Exception, KeyboardInterrupt) as error:
            code = self._failed(error)
            self._finish()
            raise SystemExit(code) from None
        except SystemExit:
            self._finish()
            raise
        return self

    def _configure(self, argv: list[str]) -> None:
        parser = options.make_parser(self)
        self.fire('options.parse.init')
        self.options, self.said = options.parse(parser, argv)
        self._showing = logs.set_up_logging(self.options, sys.stderr)
        self.fire('options.parse.datadir')
        if not self.dataDir:
            raise UsageError('no hook for "options.parse.datadir" has set dataDir')
        chosen = self.options
        trash = getattr(chosen, 'trash', False)
        self.readonly = bool(chosen.describe or chosen.local or trash)
        self._open_context()
        self._saved = dict(self.context.options.get(_SAVED) or {})
        if self._saved:
            parser.set_defaults(**self._saved)
            self.fire('options.persist.load', self._saved)
            self.options, self.said = options.parse(parser, argv)
        self._settle()
        self.fire('options.parse.term')
        self._check_files()
        silent = self.options.checkState or getattr(self.options, 'restore', None) is not None
        if not self.readonly and not silent:
            self.save()
        self._open_model()

    def _settle(self) -> None:
        """Work out the role, the id of the device, and what the server is to be."""
        chosen = self.options
        options.settle(chosen, self.said, self._saved, self.parser.error)
        known = self._saved.get('devid')
        if 'devid' in self.said and known and known != chosen.devid:
            log.warning('the id of this device changes: for all others it is a new device now')
        chosen.devid = chosen.devid or self.defaultDevID or f'{self.appLabel}:{new_device_id()}'
        for name in {'policy', 'auth'} & self.said if not chosen.server else ():
            log.warning('--%s is for the server to decide; it is remembered for --server', name)
        if chosen.server:
            port = options.read_address(chosen.listen).port
            policy = options.POLICIES[chosen.policy]
            self.serverConf = adict(port=port, policy=policy, username=chosen.username)

    def _check_files(self) -> None:
        for option in ('tlsCert', 'tlsKey', 'caFile'):
            path = getattr(self.options, option)
            if path and not self.readonly and not os.path.exists(path):
                raise UsageError(f'there is no file "{path}"')

    def save(self) -> None:
        """Remember the options: what was said now and earlier, and what hooks add."""
        values = options.remembered(self.options, self.said, self._saved)
        self.fire('options.persist.save', values)
        values = options.as_json(values)
        if values != self._saved:
            self.context.options.update({_SAVED: values})
            self._saved = values

    def _open_context(self) -> None:
        folder = str(self.dataDir)
        path = os.path.abspath(os.path.join(folder, self.databaseName))
        if self.readonly and not os.path.exists(path):
            # nothing is known yet, and looking must not leave anything behind
            self.context = self.makeContext(None, None)
            return
        make_private(folder)
        storage: Any = f'sqlite:///{path}'
        if '?' in path:  # would end the name of the file
            from pysyncml.cli.model import sqlite_url

            storage = sqlite_url(path)
        from pysyncml.cli.rebuild import open_state

        self.context = open_state(self, path, storage)

    def _open_model(self) -> None:
        from pysyncml.cli.model import makeModel

        with self.context.work(readonly=self.readonly) as work:
            self.fire('model.setup.init')
            self.model = makeModel(lambda: self.dbsession)
            self.fire('model.setup.extend')
            self.model.create_tables(work.connection)
            self.fire('model.setup.term')

    def reopen(self) -> None:
        """Open the state again, after it was found damaged: a new one is made then."""
        self._open_context()
        self._open_model()

    # --- run -------------------------------------------------------------------------------------

    def run(self, stdout: TextIO | None = None, stderr: TextIO | None = None) -> int:
        """Do what the options ask for; return the exit code. Errors are printed, not raised."""
        self.stdout = stdout or forgiving(sys.stdout)
        self.stderr = stderr or forgiving(sys.stderr)
        if self.options is None:
            self.configure()
        self.progress = progress_for(self.options, self.stderr)
        try:
            code = self._run()
            self.stdout.flush()
        except BrokenPipeError:  # the reader went away, as "head" does
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.stdout.fileno())
            code = ExitCode.OK
        except (Exception, KeyboardInterrupt) as error:
            code = self._failed(error, self.stderr)
        finally:
            self.progress.close()
            self._finish()
        return int(code)

    def wsgi(self) -> Any:
        """Return the server as a WSGI application, for another WSGI server than ours to run."""
        from pysyncml.cli import serve

        return serve.application(self)

    def _run(self) -> int:
        from pysyncml.cli import client, overview, serve

        chosen = self.options
        if getattr(chosen, 'trash', False):
            return overview.show_trash(self)
        if getattr(chosen, 'restore', None) is not None:
            return overview.restore(self, chosen.restore)
        if chosen.describe or chosen.local:
            return overview.show(self)
        if chosen.checkState:
            from pysyncml.cli import check

            return check.run(self)
        if chosen.verify:
            return client.compare(self)
        return serve.run(self) if chosen.server else client.run(self)

    def lock(self, role: str) -> contextlib.AbstractContextManager[None]:
        """Hold the directory for *role*, ``client`` or ``server``, inside a ``with``."""
        return locked(str(self.dataDir), role, self.place)

    @contextlib.contextmanager
    def work(self) -> Iterator[Any]:
        """Begin a unit of work; one that changes nothing, if this run must not.

        Inside it the tables of the model exist, whatever was rolled back before.
        """
        with self.context.work(readonly=self.readonly) as work:
            if self.readonly:
                self.model.create_tables(work.connection)
            yield work

    def _failed(self, error: BaseException, stream: TextIO | None = None) -> int:
        if self.context is not None:
            from pysyncml.cli.rebuild import post_mortem

            error = post_mortem(self, error)
        line, code = explain(error)
        self.progress.close()
        if self.options is not None and self.options.json:
            write_json({'error': line, 'exitCode': int(code)}, self.stdout)
        prog = self.parser.prog if self.parser else self.appLabel
        print(f'{prog}: {line}', file=stream or sys.stderr)
        if not isinstance(error, KeyboardInterrupt):
            log.debug('it happened here:', exc_info=error)
            for handler in self._showing.handlers[
                1:
            ]:  # the log file; stderr has got the line already
                handler.handle(log.makeRecord(log.name, logging.ERROR, '', 0, line, (), None))
        return int(code)

    def _finish(self) -> None:
        if self.context is not None and hasattr(self.context, 'close'):
            self.context.close()
        logs.stop_logging(self._showing)
        self._showing = logs.Showing()

    # --- the adapter -----------------------------------------------------------------------------

    def makeAdapter(self, login: Any = None) -> Any:
        """Return an adapter with its store, all ``adapter.create`` hooks fired.

        Must be called within a unit of work. Once per run of a client, once per session of a
        server.

        Args:
            login: (URL, user name, password) of the server to talk to; clients only.
        """
        if self.agent is None:
            raise InvalidAgent('this program has no agent: set engine.agent')
        context = self.context
        self.fire('adapter.create.init')
        self.fire('adapter.create.context', context)
        adapter = context.Adapter(
            devID=self.options.devid,
            name=self.deviceName,
            devinfo=self.device_info(),
            conflictPolicy=options.POLICIES[self.options.policy],
        )
        self.fire('adapter.create.adapter', context, adapter)
        if not self.options.server:
            self._join_peer(adapter, login)
        store = adapter.addStore(self.make_store())
        self.fire('adapter.create.store', context, adapter, store)
        if log.isEnabledFor(logging.INFO) and not self.readonly:
            self._log_pending(adapter)
        self.fire('adapter.create.term', context, adapter)
        return adapter

    def device_info(self) -> Any:
        """Return what this device says of itself."""
        from pysyncml import versionString

        params = {
            'manufacturerName': 'pysyncml',
            'modelName': self.appLabel,
            'softwareVersion': versionString,
            'hierarchicalSync': bool(getattr(self.agent, 'hierarchicalSync', False)),
            **self.devinfoParams,
        }
        return self.context.DeviceInfo(**{'devID': self.options.devid, **params})

    def make_store(self) -> Any:
        """Return the datastore of the agent, which belongs to no adapter yet."""
        name = self.options.name or self.appDisplay
        params = {'uri': self.appLabel, 'displayName': name, 'agent': self.agent}
        return self.context.Store(**{**params, **self.storeParams})

    def _join_peer(self, adapter: Any, login: Any) -> None:
        """Make the adapter's peer the server that was named; it may be one known from before."""
        if login is not None:
            from pysyncml.cli.client import join_peer

            chosen = self.options
            terms = {'encoding': chosen.encoding, 'insecure': bool(chosen.insecure)}
            join_peer(self.context, adapter, *login, **terms)
        if adapter.peer is not None:
            self.fire('adapter.create.peer', self.context, adapter, adapter.peer)
        elif not self.readonly:
            raise LogicalError('a client needs a server to talk to')

    def pending(self, adapter: Any) -> tuple[list[Any], bool]:
        """Return the pending changes of the peers of this role, and whether we have met any."""
        wanted = {peer.devID for peer in self.peers(adapter)}
        changes = [entry for entry in adapter.pendingChanges() if entry[0].devID in wanted]
        return changes, bool(changes)

    def peers(self, adapter: Any) -> list[Any]:
        """Return the peers of this role: a client's server, or a server's clients."""
        if not self.options.server:
            return [adapter.peer] if adapter.peer is not None else []
        return [peer for peer in adapter.getKnownPeers() if not peer.url]

    def _log_pending(self, adapter: Any) -> None:
        import io

        changes, known = self.pending(adapter)
        text = io.StringIO()
        describe_pending(
            changes,
            text,
            server=self.options.server,
            known=known,
            describeItem=self.agent.describeItem,
        )
        log.info('%s', text.getvalue().rstrip())
