"""The server of a service: a TCP stream from each caller, many calls in a message."""

import asyncio
import hmac
import logging
from collections.abc import Callable, Mapping

from labkit.runtime.clock import MachineClock
from labkit.runtime.rpc.address import LOOPBACK, Address
from labkit.runtime.rpc.batches import Batches
from labkit.runtime.rpc.dispatch import Dispatcher
from labkit.runtime.rpc.ports import Handler
from labkit.runtime.rpc.protocol import (
    MAX_BODY_BYTES,
    VERSION,
    Answer,
    Call,
    Hello,
    MessageReader,
    Outcome,
    calls_of,
    hello_of,
    pack,
)

log = logging.getLogger(__name__)

_HEALTH_S = 1.0  # between two looks at the threads that must move
_HELLO_S = 5.0  # in which a caller says who it is
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
        self._callers: set[_Caller] = set()

    def add(self, contract: type, handlers: Mapping[str, Handler]) -> None:
        """Serve each method of a contract."""
        self._dispatcher.add(contract, handlers)

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
        gone = [caller.hang_up() for caller in self._callers]
        if gone:
            await asyncio.wait(gone, timeout=_PATIENCE_S)

    def why_refused(self, hello: Hello) -> Answer | None:
        """Return the answer to a caller that is not served; None for one that is."""
        if hello.version != VERSION or hello.service != self._service:
            wanted = f"{hello.service} by protocol {hello.version}"
            text = f"{wanted} was asked for, and {self._service} answers by protocol {VERSION}"
            return Answer(0, Outcome.LEAVING, text.encode())
        if not hmac.compare_digest(hello.secret.encode(), self._secret.encode()):
            return Answer(0, Outcome.REFUSED, b"UNAUTHENTICATED: this lab's secret is missing")
        return None

    def _make_caller(self) -> "_Caller":
        return _Caller(self._dispatcher, self.why_refused, self._callers)


class _Caller(asyncio.Protocol):
    """The stream of one caller: its calls, and their answers; all that are ready go out together.

    Args:
        dispatcher: carries calls out.
        why_refused: returns the answer to a caller that is not served.
        callers: where it stands while it is connected.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        why_refused: Callable[[Hello], Answer | None],
        callers: "set[_Caller]",
    ) -> None:
        self._dispatcher = dispatcher
        self._why_refused = why_refused
        self._callers = callers
        self._loop = asyncio.get_running_loop()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._reader = MessageReader()
        self._is_known = self._is_refused = False
        self._outgoing = Batches[Answer]()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait a while for who it is; the loop calls this."""
        self._transport = transport
        self._outgoing.open(transport)
        self._callers.add(self)
        self._timer = self._loop.call_later(_HELLO_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Begin the calls that are whole; the loop calls this."""
        if self._is_refused:  # what it still sends is read, or it would miss why
            return
        try:
            for message in self._reader.messages_in(data):
                if self._is_refused:
                    break
                self._receive(message)
        except ValueError as error:
            self._refuse(Answer(0, Outcome.REFUSED, f"not a message: {error}".encode()))

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget it; the loop calls this."""
        self._timer.cancel()
        self._callers.discard(self)
        self._gone.set_result(None)

    def pause_writing(self) -> None:
        """Wait until the caller reads; the loop calls this."""
        self._outgoing.pause()

    def resume_writing(self) -> None:
        """Send what had to wait; the loop calls this."""
        self._outgoing.resume()

    def hang_up(self) -> "asyncio.Future[None]":
        """Close the stream when all answers are out; the future is done when it is closed."""
        self._outgoing.flush()
        self._transport.close()
        return self._gone

    def _receive(self, message: object) -> None:
        """Begin the calls of a message; the first one says who sends it."""
        if self._is_known:
            for call in calls_of(message):
                self._dispatcher.begin(call, self._send)
        elif refusal := self._why_refused(hello_of(message)):
            self._refuse(refusal)
        else:
            self._is_known = True
            self._timer.cancel()

    def _refuse(self, refusal: Answer) -> None:
        """Say why, and hang up when it had the time to read that."""
        self._is_refused = True
        self._transport.write(pack([refusal]))
        self._transport.write_eof()
        self._timer.cancel()
        self._timer = self._loop.call_later(_PATIENCE_S, self._transport.abort)

    def _send(self, call: Call, outcome: Outcome, body: bytes) -> None:
        if len(body) > MAX_BODY_BYTES:
            text = f"the answer of {call.method} has {len(body)} bytes, and {MAX_BODY_BYTES} travel"
            outcome, body = Outcome.FAILED, text.encode()
        self._outgoing.put(Answer(call.number, outcome, body))
