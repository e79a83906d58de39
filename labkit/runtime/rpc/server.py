"""The server of a service: one gRPC stream a caller, many calls in a message."""

import asyncio
import hmac
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from labkit.runtime.clock import MachineClock
from labkit.runtime.rpc.address import LOOPBACK, Address
from labkit.runtime.rpc.connection import OPTIONS, SECRET
from labkit.runtime.rpc.dispatch import Dispatcher
from labkit.runtime.rpc.ports import Handler
from labkit.runtime.rpc.protocol import (
    MAX_BODY_BYTES,
    Answer,
    Call,
    Outcome,
    calls_of,
    pack,
    take_batch,
)

log = logging.getLogger(__name__)

#: gRPC's end of one caller's stream; its types do not know that it can `read` and `write`.
Context = Any
_HEALTH_S = 1.0  # between two looks at the threads that must move
_PATIENCE_S = 1.0  # that the last message to a caller has


class GrpcServer:
    """The port `Server`: serves contracts, with the standard health service.

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
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(options=OPTIONS)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        calls: grpc.RpcMethodHandler[bytes, bytes]
        calls = grpc.stream_stream_rpc_method_handler(self._serve)
        handler = grpc.method_handlers_generic_handler(f"labkit.{service}", {"calls": calls})
        self._server.add_generic_rpc_handlers((handler,))

    def add(self, contract: type, handlers: Mapping[str, Handler]) -> None:
        """Serve each method of a contract."""
        self._dispatcher.add(contract, handlers)

    async def start(self) -> str:
        """Listen, and return the endpoint `host:port` by which others reach it."""
        port = self._server.add_insecure_port(self._address.listen)
        await self._server.start()
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        return self._address.endpoint(port)

    async def keep_health(self, stuck: Callable[[], list[str]]) -> None:
        """Keep the answer to health checks true, until cancelled.

        Args:
            stuck: returns the names of the threads that do not move.
        """
        while True:
            names = stuck()
            if names:
                log.error("%s is not healthy: %s does not move", self._service, ", ".join(names))
            status = health_pb2.HealthCheckResponse
            await self._health.set("", status.NOT_SERVING if names else status.SERVING)
            await asyncio.sleep(_HEALTH_S)

    async def stop(self) -> None:
        """Begin nothing more, answer what is under way, and stop."""
        await self._dispatcher.stop()
        await asyncio.sleep(0.01)  # the last answers go out
        await self._server.stop(grace=None)

    async def _serve(self, _requests: object, context: Context) -> None:
        """Serve one caller's stream, from its first call to its end."""
        sent = dict(context.invocation_metadata()).get(SECRET, "")
        if not hmac.compare_digest(str(sent), self._secret):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "this lab's secret is missing")
        stream = _AnswerStream(context)
        try:
            while (message := await context.read()) is not grpc.aio.EOF:
                for call in calls_of(message):
                    self._dispatcher.begin(call, stream.send)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"not a message: {error}")
        finally:
            await stream.close()


class _AnswerStream:
    """The answers to one caller: all that are ready go out together."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._ready: deque[Answer] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self._task = asyncio.ensure_future(self._write())

    def send(self, call: Call, outcome: Outcome, body: bytes) -> None:
        if len(body) > MAX_BODY_BYTES:
            text = f"the answer of {call.method} has {len(body)} bytes, and {MAX_BODY_BYTES} travel"
            outcome, body = Outcome.FAILED, text.encode()
        self._ready.append(Answer(call.number, outcome, body))
        self._wake.set()

    async def close(self) -> None:
        """Send no more, after the message that goes out just now.

        If gRPC ended the stream in the midst of it, it would send the head of the first answer
        twice, which is an error in the log.
        """
        self._closed = True
        self._wake.set()
        await asyncio.wait({self._task}, timeout=_PATIENCE_S)
        self._task.cancel()
        if self._task.done() and not self._task.cancelled():
            self._task.exception()  # the caller has gone: nobody else looks at it

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            if self._closed:
                return
            batch = take_batch(self._ready)
            if not self._ready:
                self._wake.clear()
            await self._context.write(pack(batch))
