"""A connection to one instance of a service: concurrent calls travel together on a TCP stream.

Each call has its own key, deadline and trace context and is answered as soon as it is done. A
connection that breaks makes every unanswered call *unknown*, never failed.
"""

import asyncio
import time
from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import partial

from labkit.runtime.errors import Unknown
from labkit.runtime.injection.network import NetworkPath
from labkit.runtime.rpc.address import host_and_port
from labkit.runtime.rpc.batches import Batches
from labkit.runtime.rpc.ports import Broken, Busy, Connect, Connection, conclude
from labkit.runtime.rpc.protocol import (
    MAX_BODY_BYTES,
    PING,
    VERSION,
    Answer,
    Call,
    Hello,
    MessageReader,
    Outcome,
    answers_of,
    pack,
)

_TICK_S = 0.05
_SILENCE_S = 0.25  # without a word, after which the connection pings
_PING_TIMEOUT_S = 1.0  # after which a new connection is tried


def connect_with(secret: str, limit: int = 1000) -> Connect:
    """Return the function that opens connections.

    Args:
        secret: of the home; calls without it are refused.
        limit: how many calls may wait on one connection.
    """

    def connect(
        endpoint: str,
        service: str,
        on_unresponsive: Callable[[Connection], None],
        path: NetworkPath,
    ) -> Connection:
        return StreamConnection(endpoint, service, secret, limit, on_unresponsive, path)

    return connect


@dataclass(slots=True)
class _Waiting:
    answer: "asyncio.Future[bytes]"
    expires: float


class StreamConnection(asyncio.Protocol):
    """The port `Connection`, on a TCP stream.

    What is asked in one turn of the loop goes out in one message, as soon as the turn is over, and
    not before the instance has said that it serves.

    Args:
        endpoint: `host:port`.
        service: its name, which is its name on the wire.
        secret: of the home.
        limit: how many calls may wait for their answers.
        on_unresponsive: called when the instance has stopped answering.
        path: the network to the instance, with its faults.

    Attributes:
        healthy: whether the instance answered, when it was asked last.
        broken: whether the connection has ended.
    """

    def __init__(
        self,
        endpoint: str,
        service: str,
        secret: str,
        limit: int,
        on_unresponsive: Callable[[Connection], None],
        path: NetworkPath,
    ) -> None:
        self.service = service
        self._secret = secret
        self._on_unresponsive = on_unresponsive
        self.healthy = True
        self.broken = False
        self._limit = limit
        self._path = path
        self._was_refused = path.is_refused
        self._loop = asyncio.get_running_loop()
        self._reader = MessageReader()
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, _Waiting] = {}
        self._outgoing = Batches[Call](partial(_is_wanted, self._waiting), path.drops)
        self._last = 0
        self._heard_at = time.monotonic()
        self._pinged_at = 0.0
        self._ticking = False
        self._opening = asyncio.ensure_future(self._open(path.connects_to(endpoint)))

    @property
    def load(self) -> int:
        """Return the number of calls that wait for their answers."""
        return len(self._waiting)

    def ask(
        self, method: str, body: bytes, expires: float, trace: str = ""
    ) -> "asyncio.Future[bytes]":
        """Send a call, as `Connection.ask` has it."""
        if len(body) > MAX_BODY_BYTES:
            raise Unknown(f"the call has {len(body)} bytes and may have {MAX_BODY_BYTES}")
        if self._is_cut():
            raise Broken("the connection was cut")
        if len(self._waiting) >= self._limit:
            raise Busy(f"{self._limit} calls wait for it")
        answer: asyncio.Future[bytes] = self._loop.create_future()
        now = time.monotonic()
        self._send(Call(self._last + 1, method, int((expires - now) * 1000), trace, body))
        self._waiting[self._last] = _Waiting(answer, expires)
        if len(self._waiting) == 1:
            self._heard_at = now
        self._tick_soon()
        return answer

    def fail_waiting(self, cause: str, error: type[Exception] = Broken) -> None:
        """Fail every call that waits: each is asked again, elsewhere or on a new connection."""
        waiting_calls = list(self._waiting.values())
        self._waiting.clear()
        for waiting in waiting_calls:
            if not waiting.answer.done():
                waiting.answer.set_exception(error(cause))

    def suspect(self) -> None:
        """Take the instance for unresponsive until it answers, as the last connection did."""
        self.healthy = False
        self._ping()
        self._tick_soon()

    async def close(self) -> None:
        """Close the connection."""
        self._end("closed")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Say who calls; the loop calls this."""
        self._transport = transport
        transport.write(pack(Hello(VERSION, self.service, self._secret)))

    def data_received(self, data: bytes) -> None:
        """Give out the answers that are whole; the loop calls this."""
        try:
            for message in self._reader.messages_in(data):
                answers = answers_of(message)
                if not (answers and self._path.drops(back=True)):
                    self._receive(answers)
        except ValueError as error:
            self._end(f"whoever answers is no service of a lab: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        """Fail what waits; the loop calls this."""
        self._end(f"the connection broke: {error}" if error else "the connection was closed there")

    def pause_writing(self) -> None:
        """Wait until the other side reads; the loop calls this."""
        self._outgoing.pause()

    def resume_writing(self) -> None:
        """Send what had to wait; the loop calls this."""
        self._outgoing.resume()

    async def _open(self, endpoint: str) -> None:
        try:
            await self._loop.create_connection(lambda: self, *host_and_port(endpoint))
        except (OSError, ValueError, OverflowError) as error:  # or it is no endpoint
            self._end(f"nobody answers at {endpoint}: {error}")

    def _end(self, cause: str, error: type[Exception] = Broken) -> None:
        """Close the connection, for ever; what waits for an answer fails."""
        if not self.broken:
            self.broken = True
            self._opening.cancel()
            if self._transport:
                self._transport.abort()  # nobody wants any more what it would still send
        self.fail_waiting(cause, error)

    def _send(self, call: Call) -> None:
        self._last += 1
        self._outgoing.put(call)

    def _receive(self, answers: list[Answer]) -> None:
        """Give answers to those who wait for them; the first message tells that it serves."""
        self._heard_at, self._pinged_at, self.healthy = time.monotonic(), 0.0, True
        if self._transport and not answers:
            self._outgoing.open(self._transport)
        for number, outcome, body in answers:
            if not number:  # there is no such call: it is about all of them
                error = Unknown if outcome == Outcome.REFUSED else Broken
                return self._end(body.decode(), error)
            waiting = self._waiting.pop(number, None)
            if waiting is None or waiting.answer.done():  # a ping, or nobody waits any more
                continue
            conclude(waiting.answer, outcome, body)
        return None

    def _is_cut(self) -> bool:
        """Return True if connections are refused since this one was made: then it goes down too."""
        if self._was_refused or not self._path.is_refused:
            return False
        self._end("the connection was cut")
        return True

    def _ping(self) -> None:
        self._pinged_at = time.monotonic()
        self._send(Call(self._last + 1, PING, 0, "", b""))

    def _tick_soon(self) -> None:
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(_TICK_S, self._tick)

    def _tick(self) -> None:
        """End the calls whose time is over, and find out whether the other side answers."""
        self._ticking = False
        if self._is_cut():
            return
        now = time.monotonic()
        self._end_expired(now)
        if self.healthy and self._pinged_at and now - self._pinged_at > _SILENCE_S:
            self.healthy = False
            self._on_unresponsive(self)
        elif self._waiting and not self._pinged_at and now - self._heard_at > _SILENCE_S:
            self._ping()
        if self._pinged_at and now - self._pinged_at > _PING_TIMEOUT_S:
            self._end("it does not answer")  # perhaps the connection alone is dead
        elif self._waiting or self._pinged_at:
            self._tick_soon()

    def _end_expired(self, now: float) -> None:
        expired = [number for number, call in self._waiting.items() if call.expires <= now]
        for number in expired:
            answer = self._waiting.pop(number).answer
            if not answer.done():
                answer.set_exception(Unknown("its time is over"))


def _is_wanted(waiting: Container[int], call: Call) -> bool:
    """Return True if somebody waits for the answer of a call that is to go out."""
    return call.method == PING or call.number in waiting
