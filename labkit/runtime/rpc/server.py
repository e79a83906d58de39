"""The server of a service, to which each caller has a TCP stream."""

import asyncio
import hmac
import logging
from collections.abc import Callable, Mapping

from labkit.runtime.clock import MachineClock
from labkit.runtime.evolution import Upcasts
from labkit.runtime.rpc.address import LOOPBACK, Address
from labkit.runtime.rpc.caller import Caller, Callers
from labkit.runtime.rpc.dispatch import Dispatcher
from labkit.runtime.rpc.ports import Handler
from labkit.runtime.rpc.protocol import VERSION, Answer, Hello, Outcome

log = logging.getLogger(__name__)

_HEALTH_S = 1.0  # between two looks at the threads that must move
_PATIENCE_S = 1.0  # in which the last answers go out
_BACKLOG = 512


class StreamServer:
    """The port `Server`: serves contracts.

    Args:
        service: its name in the registry, which is its name on the wire too.
        secret: of the home.
        address: where it listens.
    """

    def __init__(self, service: str, secret: str, address: Address = LOOPBACK) -> None:
        self._address = address
        self._service = service
        self._secret = secret
        self._dispatcher = Dispatcher(service, MachineClock())
        self._callers = Callers()

    def add(
        self, contract: type, handlers: Mapping[str, Handler], upcasts: Upcasts | None = None
    ) -> None:
        """Serve each method of a contract; see `Dispatcher.add`."""
        self._dispatcher.add(contract, handlers, upcasts)

    async def start(self) -> str:
        """Listen, and return the endpoint `host:port` by which others reach it."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._make_caller, self._address.host, self._address.port, backlog=_BACKLOG
        )
        return self._address.endpoint(self._server.sockets[0].getsockname()[1])

    async def keep_health(self, stuck: Callable[[], list[str]]) -> None:
        """Keep the answer to health checks true, until cancelled.

        Args:
            stuck: returns the names of the threads that do not move.
        """
        while True:
            names = self._dispatcher.stuck = stuck()
            if names:
                log.error("%s is not healthy: %s does not move", self._service, ", ".join(names))
            await asyncio.sleep(_HEALTH_S)

    async def stop(self) -> None:
        """Begin nothing more, answer what is under way, and stop."""
        self._server.close()
        await self._dispatcher.stop()
        gone = [caller.hang_up() for caller in self._callers.all]
        if gone:
            await asyncio.wait(gone, timeout=_PATIENCE_S)
        for caller in list(self._callers.all):  # who does not read
            caller.abort()

    def _why_refused(self, hello: Hello) -> Answer | None:
        """Return the answer to a caller that is not served; None for one that is."""
        if hello.version != VERSION or hello.service != self._service:
            wanted = f"{hello.service} by protocol {hello.version}"
            text = f"{wanted} was asked for, and {self._service} answers by protocol {VERSION}"
            return Answer(0, Outcome.LEAVING, text.encode())
        if not hmac.compare_digest(hello.secret.encode(), self._secret.encode()):
            return Answer(0, Outcome.REFUSED, b"UNAUTHENTICATED: this lab's secret is missing")
        return None

    def _make_caller(self) -> Caller:
        return Caller(self._dispatcher, self._why_refused, self._callers)
