"""The simulated network: calls between services, and forms and requests of the webs.

Everything takes a hop's time. What a process has sent arrives, though it died meanwhile. A call to
one that died arrives nowhere, and a request to a web that died waits for its next process. Who
waits for an answer of a process that dies learns that the connection broke.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from labkit.runtime.errors import Unknown
from labkit.runtime.evolution import Upcasts
from labkit.runtime.injection.network import NetworkPath
from labkit.runtime.rpc.dispatch import Dispatcher
from labkit.runtime.rpc.ports import Broken, Connection, Handler, conclude
from labkit.runtime.rpc.protocol import Call, Outcome
from labkit.sim.clocks import SimClock
from labkit.sim.loop import SimLoop, wake
from labkit.sim.process import Process, current
from labkit.sim.recording import CUSTOMER, Record
from labkit.sim.sockets import SimSocket

T = TypeVar("T")

_HOP_S = 0.0005


class SimNetwork:
    """The network.

    Args:
        loop: the loop.
        record: of the life.
    """

    def __init__(self, loop: SimLoop, record: Record) -> None:
        self.loop = loop
        self.record = record
        self.servers: dict[str, SimServer] = {}

    def connect(
        self,
        caller: Process,
        clock: SimClock,
        endpoint: str,
        service: str,
        on_unresponsive: Callable[[Connection], None],  # noqa: ARG002  # who answers nothing, died
        path: NetworkPath,  # noqa: ARG002  # what is cut is decided elsewhere
    ) -> Connection:
        """Open a connection, as `Connect` has it."""
        return SimConnection(self, caller, clock, endpoint, service)

    async def exchange(
        self, socket: SimSocket, what: str, work: Callable[[Any], Awaitable[T]]
    ) -> T:
        """Send a request to a socket, and wait for the answer.

        Args:
            socket: of the process that serves it.
            what: it is, in a word.
            work: is run in that process, with what it serves by.

        Raises:
            ConnectionError: the process died.
        """
        await self._hop()
        asking = current()
        who = asking.service if asking else CUSTOMER
        answer: asyncio.Future[T] = self.loop.create_future()

        def begin(target: Process, served: Any) -> None:
            self.record.call(who, socket.service, what)
            target.at_death(partial(_break, answer))
            target.run(self.loop.create_task, _answer(work(served), answer))

        socket.deliver(begin)
        result = await answer
        await self._hop()
        self.record.answer(socket.service, who, what)
        return result

    async def _hop(self) -> None:
        arrived = self.loop.create_future()
        self.loop.call_later(_HOP_S, wake, arrived)
        await arrived

    def carry(self, to: Process, work: Callable[..., None], *arguments: object) -> None:
        """Run something in a process a hop later, if it lives then."""
        self.loop.call_later(_HOP_S, work, *arguments, context=to.context)


class SimServer:
    """The port `Server` of one process.

    Args:
        network: the network.
        process: the process.
        clock: of the process.
    """

    def __init__(self, network: SimNetwork, process: Process, clock: SimClock) -> None:
        self._network = network
        self._dispatcher = Dispatcher(process.service, clock)
        self.process = process

    def add(
        self, contract: type, handlers: Mapping[str, Handler], upcasts: Upcasts | None = None
    ) -> None:
        """Serve each method of a contract; see `Dispatcher.add`."""
        self._dispatcher.add(contract, handlers, upcasts)

    async def start(self) -> str:
        """Listen, and return the endpoint."""
        self._network.servers[self.process.endpoint] = self
        return self.process.endpoint

    async def keep_health(self, stuck: Callable[[], list[str]]) -> None:  # noqa: ARG002
        """Do nothing: nobody asks."""
        await self._network.loop.create_future()

    async def stop(self) -> None:
        """Begin nothing more, answer what is under way, and stop."""
        await self._dispatcher.stop()

    def receive(self, call: Call, connection: "SimConnection") -> None:
        """Carry a call out, and send its answer back."""

        def send(call: Call, outcome: Outcome, body: bytes) -> None:
            self._network.carry(connection.caller, connection.take, call.number, outcome, body)

        self._dispatcher.begin(call, send)


class SimConnection:
    """The port `Connection`.

    Args:
        network: the network.
        caller: the process that calls.
        clock: its clock.
        endpoint: of the other process.
        service: its name.
    """

    def __init__(
        self, network: SimNetwork, caller: Process, clock: SimClock, endpoint: str, service: str
    ) -> None:
        self.service = service
        self.healthy = True
        self.broken = False
        self.caller = caller
        self._network = network
        self._clock = clock
        self._waiting: dict[int, tuple[str, asyncio.Future[bytes]]] = {}
        self._last = 0
        self._server = network.servers.get(endpoint)
        if self._server:
            notice = partial(network.carry, caller, self._break)
            self._server.process.at_death(notice)

    @property
    def load(self) -> int:
        """Return the number of calls that wait for their answers."""
        return len(self._waiting)

    def ask(
        self, method: str, body: bytes, expires: float, trace: str = ""
    ) -> "asyncio.Future[bytes]":
        """Send a call, as `Connection.ask` has it."""
        if self._server is None or not self._server.process.is_alive:
            self.broken = True
            raise Broken("nobody listens")
        loop = self._network.loop
        self._last += 1
        answer: asyncio.Future[bytes] = loop.create_future()
        self._waiting[self._last] = method, answer
        self._network.record.call(self.caller.service, self.service, method)
        seconds = expires - self._clock.monotonic()
        call = Call(self._last, method, int(seconds * 1000), trace, body)
        self._network.carry(self._server.process, self._server.receive, call, self)
        loop.call_later(seconds, self._expire, self._last)
        return answer

    def take(self, number: int, outcome: Outcome, body: bytes) -> None:
        """Give an answer to whoever waits for it."""
        method, answer = self._waiting.pop(number, ("", None))
        if answer is None or answer.done():
            return
        self._network.record.answer(self.service, self.caller.service, method)
        conclude(answer, outcome, body)

    def fail_waiting(self, cause: str) -> None:
        """Fail every call that waits."""
        waiting, self._waiting = self._waiting, {}
        for _, answer in waiting.values():
            if not answer.done():
                answer.set_exception(Broken(cause))

    def suspect(self) -> None:
        """Do nothing: who answers nothing has died here."""

    async def close(self) -> None:
        """Close the connection."""
        self._break()

    def _break(self) -> None:
        self.broken = True
        self.fail_waiting("the connection broke")

    def _expire(self, number: int) -> None:
        _, answer = self._waiting.pop(number, ("", None))
        if answer and not answer.done():
            answer.set_exception(Unknown("its time is over"))


async def _answer(work: Awaitable[T], answer: "asyncio.Future[T]") -> None:
    try:
        result = await work
    except Exception as error:  # whoever asked is told
        with suppress(asyncio.InvalidStateError):
            answer.set_exception(error)
    else:
        with suppress(asyncio.InvalidStateError):
            answer.set_result(result)


def _break(answer: "asyncio.Future[Any]") -> None:
    if not answer.done():
        answer.set_exception(ConnectionError("the connection broke"))
