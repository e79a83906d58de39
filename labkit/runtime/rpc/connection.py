"""A connection to one instance of a service: concurrent calls travel together on a gRPC stream.

Each call has its own key, deadline and trace context and is answered as soon as it is done. A
connection that breaks makes every unanswered call *unknown*, never failed.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from labkit.runtime.errors import Unknown
from labkit.runtime.injection.network import NetworkPath
from labkit.runtime.rpc.ports import Broken, Busy, Connect, Connection, conclude
from labkit.runtime.rpc.protocol import (
    MAX_BODY_BYTES,
    MAX_MESSAGE_BYTES,
    PING,
    Call,
    answers_of,
    pack,
    take_batch,
)

SECRET = "labkit-secret"  # the header's name, not a secret
#: Each connection has a channel of its own, so that one instance's past is not another's. Proxies
#: that the environment names have no business with the calls of a lab.
OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.so_reuseport", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
)
#: Ends of a connection after which asking again would meet the same.
_HOPELESS = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INVALID_ARGUMENT)
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
        return GrpcConnection(endpoint, service, secret, limit, on_unresponsive, path)

    return connect


@dataclass(slots=True)
class _Waiting:
    answer: "asyncio.Future[bytes]"
    expires: float


class GrpcConnection:
    """The port `Connection`, on a gRPC stream.

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
        self._on_unresponsive = on_unresponsive
        self.healthy = True
        self.broken = False
        self._limit = limit
        self._path = path
        self._was_refused = path.is_refused
        self._channel = grpc.aio.insecure_channel(path.connects_to(endpoint), OPTIONS)
        open_stream: Any = self._channel.stream_stream(f"/labkit.{service}/calls")
        self._stream = open_stream(metadata=((SECRET, secret),))
        self._outgoing: deque[Call] = deque()
        self._waiting: dict[int, _Waiting] = {}
        self._last = 0
        self._heard_at = time.monotonic()
        self._pinged_at = 0.0
        self._wake = asyncio.Event()
        self._tasks = [asyncio.ensure_future(work) for work in (self._write(), self._read())]
        self._loop = asyncio.get_running_loop()
        self._ticking = False

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
        waiting_calls, self._waiting = self._waiting, {}
        for waiting in waiting_calls.values():
            if not waiting.answer.done():
                waiting.answer.set_exception(error(cause))

    def suspect(self) -> None:
        """Take the instance for unresponsive until it answers, as the last connection did."""
        self.healthy = False
        self._ping()
        self._tick_soon()

    async def close(self) -> None:
        """Close the connection."""
        self.broken = True
        tasks, self._tasks = self._tasks, []  # or the connection stays until garbage is collected
        for task in tasks:
            task.cancel()
        self.fail_waiting("closed")
        await self._channel.close()

    def _send(self, call: Call) -> None:
        self._last += 1
        self._outgoing.append(call)
        self._wake.set()

    async def _write(self) -> None:
        try:
            while True:
                await self._wake.wait()
                batch = take_batch(self._outgoing)
                if not self._outgoing:
                    self._wake.clear()
                if not self._path.drops():
                    await self._stream.write(pack(batch))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # the reader meets the same end, and says why

    async def _read(self) -> None:
        with suppress(grpc.aio.AioRpcError):
            while (message := await self._stream.read()) is not grpc.aio.EOF:
                if not self._path.drops(back=True):
                    self._receive(message)
        self.broken = True
        for writing in self._tasks[:1]:  # none where it was closed meanwhile
            writing.cancel()
        code = await self._stream.code()
        error = Unknown if code in _HOPELESS else Broken
        self.fail_waiting(f"{code.name}: {await self._stream.details()}", error)
        await self._channel.close()

    def _receive(self, message: bytes) -> None:
        """Give the answers of a message to those who wait for them."""
        self._heard_at, self._pinged_at, self.healthy = time.monotonic(), 0.0, True
        for number, outcome, body in answers_of(message):
            waiting = self._waiting.pop(number, None)
            if waiting is None or waiting.answer.done():  # a ping, or nobody waits any more
                continue
            conclude(waiting.answer, outcome, body)

    def _is_cut(self) -> bool:
        """Return True if connections are refused since this one was made: then it goes down too."""
        if self._was_refused or not self._path.is_refused:
            return False
        self._closing = asyncio.ensure_future(self.close())
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
            self._closing = asyncio.ensure_future(self.close())  # perhaps it alone is dead
        elif self._waiting or self._pinged_at:
            self._tick_soon()

    def _end_expired(self, now: float) -> None:
        expired = [number for number, call in self._waiting.items() if call.expires <= now]
        for number in expired:
            answer = self._waiting.pop(number).answer
            if not answer.done():
                answer.set_exception(Unknown("its time is over"))
