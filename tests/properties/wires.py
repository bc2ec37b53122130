"""The way from a client to the server, on which everything may happen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pysyncml.codec import decode
from pysyncml.errors import ConnectFailed, Timeout
from pysyncml.protocol.messages import Add, Delete, Replace
from pysyncml.transport import Request, Response
from tests.properties.devices import Notes, World
from tests.properties.processes import Process, acting, step

#: what may become of a message
FATES = ('request lost', 'answer lost', 'twice', 'down')

Event = Callable[['Wire'], None]


class Wire:
    """Carries the messages of one run.

    Args:
        fates: what becomes of a message, by its number (from 1): one of :data:`FATES`. The
            network that is *down* stays down for the rest of the run.
        events: what happens elsewhere just before a message is sent.
        gate: called before each message, to let others go first.
    """

    engine: Notes
    process: Process

    def __init__(
        self,
        world: World,
        fates: Mapping[int, str] | None = None,
        events: Mapping[int, Sequence[Event]] | None = None,
        gate: Callable[[], None] | None = None,
        listen: bool = False,
    ) -> None:
        self.world = world
        self.fates = fates or {}
        self.events = events or {}
        self.gate = gate
        self.count = 0
        self.down = False
        self.heard: list[tuple[str, bytes]] | None = [] if listen else None

    def exchange(self, request: Request) -> Response:
        step('a message is to go')
        self.count += 1
        self.world.now += 1
        with acting(None):
            if self.gate is not None:
                self.gate()
            for happen in self.events.get(self.count, ()):
                happen(self)
        fate = self.fates.get(self.count)
        self.down = self.down or fate == 'down'
        if self.down or fate == 'request lost':
            raise ConnectFailed('the request was lost')
        response = self._deliver(request, twice=fate == 'twice')
        if fate == 'answer lost':
            raise Timeout('the answer was lost')
        step('an answer has come')
        return response

    def _deliver(self, request: Request, *, twice: bool) -> Response:
        server = self.world.server
        with acting(None):
            response = server.handle(request)
            if twice:
                again = server.handle(request)
                assert again.body == response.body, 'the same message was answered differently'
        if self.heard is not None:
            self.heard += [(m.content_type, m.body) for m in (request, response)]
        return response

    def items(self) -> list[str]:
        """Return the commands with items that went over it, if it was to *listen*."""
        kinds = (Add, Delete, Replace)
        said = [command for one in self.heard or () for command in decode(*one).walk()]
        return [command.name for command in said if isinstance(command, kinds)]

    def close(self) -> None:
        """Nothing to close."""


class Turnstile:
    """Lets several runs go on one message at a time, in an order that is given.

    Args:
        order: numbers; each says who of those that still run goes next.
    """

    def __init__(self, order: Sequence[int]) -> None:
        self.order = list(order)
        self._back = threading.Semaphore(0)
        self._go: list[threading.Semaphore] = []

    def run(self, runs: Sequence[Callable[[Callable[[], None]], Any]]) -> None:
        """Call each of *runs* in a thread, with the gate it is to go through."""
        self._go = [threading.Semaphore(0) for _ in runs]
        failures: list[BaseException] = []
        running = list(range(len(runs)))

        def body(number: int) -> None:
            self._go[number].acquire()
            try:
                runs[number](lambda: self._pass(number))
            except BaseException as error:
                failures.append(error)
            finally:
                running.remove(number)
                self._back.release()

        threads = [threading.Thread(target=body, args=(number,)) for number in running]
        for thread in threads:
            thread.start()
        turn = 0
        while running:
            wish = self.order[turn] if turn < len(self.order) else turn
            turn += 1
            self._go[running[wish % len(running)]].release()
            self._back.acquire()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def _pass(self, number: int) -> None:
        self._back.release()
        self._go[number].acquire()
