"""What a client does while its server prepares the first answer: it looks through its own data.

Both sides have to look for changes before they can tell any, and neither look depends on the
other one. The first message tells none, so it goes out before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from pysyncml.negotiation import BeginAgain
from pysyncml.transport import Request, Response, Transport

if TYPE_CHECKING:
    from pysyncml.cli.engine import CommandLineSyncEngine


def meanwhile(engine: CommandLineSyncEngine, adapter: Any, transport: Any) -> Transport:
    """Return *transport*, during whose first exchange the work is done that *engine* has put off.

    It is done at once where the transport cannot work in a thread of its own.
    """
    if engine.deferred and getattr(transport, 'concurrent', False):
        return _Meanwhile(transport, partial(_catch_up, engine, adapter))
    if engine.deferred:
        _do(engine)
    wrapped: Transport = transport
    return wrapped


def _do(engine: CommandLineSyncEngine) -> None:
    with engine.work():
        for action in engine.deferred or ():
            action()
    engine.deferred = None


def _catch_up(engine: CommandLineSyncEngine, adapter: Any) -> None:
    _do(engine)
    for store in adapter.stores.values():
        if store.peer is None or store.peer.binding.sourceAnchor is None:
            # everything is to be compared after all, which is not what was asked for
            raise BeginAgain


class _Meanwhile:
    """A transport that does *action* while it waits for its first answer."""

    def __init__(self, transport: Transport, action: Callable[[], None]) -> None:
        self._transport = transport
        self._action: Callable[[], None] | None = action

    def exchange(self, request: Request) -> Response:
        """Send *request* and return the answer; see :meth:`Transport.exchange`."""
        action, self._action = self._action, None
        if action is None:
            return self._transport.exchange(request)
        answers: list[Response] = []
        errors: list[Exception] = []

        def ask() -> None:
            try:
                answers.append(self._transport.exchange(request))
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=ask, daemon=True)  # Ctrl-C does not wait for it
        thread.start()
        try:
            action()
        except Exception:
            thread.join()  # nobody else may use the connection before
            raise
        thread.join()
        if errors:
            raise errors[0]
        return answers[0]

    def close(self) -> None:
        """Let go of connections."""
        self._transport.close()
