"""The port of a connection: what calls await, whatever carries them.

A TCP stream stands behind it (`connection`). Logic that awaits nothing else runs unchanged on a
simulated network.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from labkit.runtime.errors import Unknown
from labkit.runtime.evolution import Upcasts
from labkit.runtime.injection.network import NetworkPath
from labkit.runtime.rpc.protocol import Outcome

#: What a handler has begun; its result is the answer.
Work = asyncio.Future[Any]
#: Begins to carry a command out, given the time when nobody waits any more (monotonic clock).
Handler = Callable[[Any, float], Work]


class Broken(Exception):
    """The connection broke, or the instance left: whether the call was done is not known."""


class Busy(Exception):
    """The other side did not begin, because too much waits there already."""


def conclude(answer: "asyncio.Future[bytes]", outcome: int, body: bytes) -> None:
    """Give the outcome of a call to whoever waits for it.

    Args:
        answer: what is waited for.
        outcome: an `Outcome`.
        body: the answer, or the cause in words.
    """
    if outcome == Outcome.DONE:
        answer.set_result(body)
    elif outcome == Outcome.LEAVING:
        answer.set_exception(Broken("it is stopping"))
    elif outcome == Outcome.BUSY:
        answer.set_exception(Busy(body.decode(errors="replace")))
    else:
        answer.set_exception(Unknown(body.decode(errors="replace")))


class Connection(Protocol):
    """A connection to one instance. When it breaks, a new one is made in its place."""

    @property
    def service(self) -> str:
        """Return the name of the service."""
        ...

    @property
    def healthy(self) -> bool:
        """Return True if the instance answered, when it was asked last."""
        ...

    @property
    def broken(self) -> bool:
        """Return True if the connection has ended."""
        ...

    @property
    def load(self) -> int:
        """Return the number of calls that wait for their answers."""
        ...

    def ask(
        self, method: str, body: bytes, expires: float, trace: str = ""
    ) -> "asyncio.Future[bytes]":
        """Send a call.

        Args:
            method: of the contract.
            body: the command as JSON.
            expires: when nobody waits any more, by the monotonic clock.
            trace: the trace context.

        Returns:
            A future of the answer as JSON. It may raise `Broken`, `Busy`, or `Unknown` where the
            time is over or the call raised.

        Raises:
            Busy: too many calls wait on this connection already.
            Broken: the network was cut.
            Unknown: the command is longer than a call may be; it is not sent.
        """
        ...

    def fail_waiting(self, cause: str) -> None:
        """Fail every call that waits: each is asked again, elsewhere or on a new connection."""
        ...

    def suspect(self) -> None:
        """Take the instance for unresponsive until it answers, as the last connection did."""
        ...

    async def close(self) -> None:
        """Close the connection."""
        ...


class Connect(Protocol):
    """Opens connections."""

    def __call__(
        self,
        endpoint: str,
        service: str,
        on_unresponsive: Callable[[Connection], None],
        path: NetworkPath,
    ) -> Connection:
        """Open a connection.

        Args:
            endpoint: `host:port`.
            service: the name of the service.
            on_unresponsive: called when the instance has stopped answering.
            path: the network to the instance, with its faults.
        """
        ...


class Server(Protocol):
    """The server of one instance of a service."""

    def add(
        self, contract: type, handlers: Mapping[str, Handler], upcasts: Upcasts | None = None
    ) -> None:
        """Serve each method of a contract; see `Dispatcher.add`."""
        ...

    async def start(self) -> str:
        """Listen, and return the endpoint by which others reach it."""
        ...

    async def keep_health(self, stuck: Callable[[], list[str]]) -> None:
        """Keep the answer to health checks true, until cancelled."""
        ...

    async def stop(self) -> None:
        """Begin nothing more, answer what is under way, and stop."""
        ...
