"""Calls between services: typed contracts over gRPC, like Dubbo's interfaces.

A contract is a Protocol class whose methods take one frozen message and return one. A client stub
and a server's handlers are made from the class. A call that is not answered in its time is
*unknown*, never failed: the caller asks again under the same key, or cancels.
"""

import asyncio
import hmac
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from labkit.runtime.contract import Method, methods_of
from labkit.runtime.failpoints import Failpoints, Refused
from labkit.runtime.registry import Registry
from labkit.runtime.steps import Unknown

C = TypeVar("C")
log = logging.getLogger(__name__)
Handler = Callable[[Any], Awaitable[Any]]

_SECRET = "labkit-secret"  # the header's name, not a secret
_OPTIONS = (("grpc.enable_retries", 0), ("grpc.so_reuseport", 0))


class Calls:
    """Makes stubs for other services, found through the registry.

    Args:
        caller: this service's name; its failpoints bear it.
        registry: who serves what.
        secret: of the home; calls without it are refused.
        failpoints: crossed before and after each call; None for a tool outside.
        timeout: seconds that a call has, with all its tries.
    """

    def __init__(
        self,
        caller: str,
        registry: Registry,
        secret: str,
        failpoints: Failpoints | None,
        timeout: float,
    ) -> None:
        self._caller = caller
        self._registry = registry
        self._metadata = ((_SECRET, secret),)
        self._failpoints = failpoints
        self._timeout = timeout
        self._channels: dict[str, grpc.aio.Channel] = {}

    def stub(
        self, contract: type[C], service: str, timeouts: Mapping[str, float] | None = None
    ) -> C:
        """An object with the contract's methods, each of which calls the service.

        Args:
            contract: the Protocol class.
            service: its name in the registry.
            timeouts: method → seconds, where it has not the usual time.

        Returns:
            The stub. Its methods raise `Unknown` where no answer came in time.
        """
        methods: dict[str, Any] = {
            name: self._method(service, name, method, (timeouts or {}).get(name, self._timeout))
            for name, method in methods_of(cast(type, contract)).items()
        }
        return cast(C, type(f"{contract.__name__}Stub", (), methods)())

    async def close(self) -> None:
        """Close all connections."""
        for channel in self._channels.values():
            await channel.close()

    def _method(self, service: str, name: str, method: Method, timeout: float) -> Any:
        path, boundary = f"/labkit.{service}/{name}", f"{self._caller}.{name}."
        traced = self._failpoints is not None and name not in UNTRACED

        async def call(_self: object, command: Any) -> Any:
            payload = method.request.dump_json(command)
            deadline = time.monotonic() + timeout
            if traced and await self._cross(boundary + "before_call"):
                await self._ask(service, path, payload, deadline)
            answer = await self._ask(service, path, payload, deadline)
            if traced:
                await self._cross(boundary + "after_call")
            return method.answer.validate_json(answer)

        return call

    async def _cross(self, name: str) -> bool:
        assert self._failpoints  # only traced calls cross
        try:
            return await self._failpoints.cross_async(name)
        except Refused as refused:
            raise Unknown(str(refused)) from refused

    async def _ask(self, service: str, path: str, payload: bytes, deadline: float) -> bytes:
        """Ask one instance after another until the deadline: the key makes that safe."""
        cause = "no instance is registered"
        while (left := deadline - time.monotonic()) > 0:
            instances = self._registry.instances(service)
            if instances:
                endpoint = random.choice(instances).endpoint  # balancing, no secret
                try:
                    return await self._send(endpoint, path, payload, left)
                except grpc.aio.AioRpcError as error:
                    cause = f"{error.code().name}: {error.details()}"
                    if error.code() != grpc.StatusCode.UNAVAILABLE:
                        break
            await asyncio.sleep(random.uniform(0.01, 0.03))  # jitter
        raise Unknown(f"{service} gave no answer to {path}: {cause}")

    async def _send(self, endpoint: str, path: str, payload: bytes, left: float) -> bytes:
        channel = self._channels.get(endpoint)
        if channel is None:
            channel = self._channels[endpoint] = grpc.aio.insecure_channel(endpoint, _OPTIONS)
        send: Any = channel.unary_unary(path)
        return cast(bytes, await send(payload, timeout=left, metadata=self._metadata))


#: Calls of the runtime itself, which no order waits for: they have no failpoints.
UNTRACED = ("find_missing", "retry")


class Server:
    """Serves contracts on a free port of the loopback, with the standard health service.

    Args:
        service: its name in the registry, which is its name on the wire too.
        secret: of the home.
    """

    def __init__(self, service: str, secret: str) -> None:
        self._service = service
        self._secret = secret
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(options=_OPTIONS)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    def add(self, contract: type, handlers: Mapping[str, Handler]) -> None:
        """Serve each method of a contract with a coroutine `handler(command)`."""
        served: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            name: grpc.unary_unary_rpc_method_handler(self._handler(method, handlers[name]))
            for name, method in methods_of(contract).items()
        }
        self._server.add_registered_method_handlers(f"labkit.{self._service}", served)
        generic = grpc.method_handlers_generic_handler(f"labkit.{self._service}", served)
        self._server.add_generic_rpc_handlers((generic,))

    async def start(self) -> str:
        """Listen, and return the endpoint `host:port`."""
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        return f"127.0.0.1:{port}"

    async def stop(self) -> None:
        """Answer what is under way and stop."""
        await self._server.stop(grace=1)

    def _handler(self, method: Method, handle: Handler) -> Any:
        async def answer(payload: bytes, context: Any) -> bytes:
            sent = dict(context.invocation_metadata()).get(_SECRET, "")
            if not hmac.compare_digest(str(sent), self._secret):
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "this lab's secret is missing")
            try:
                command = method.request.validate_json(payload)
            except ValueError as error:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            # The work goes on when the caller stops waiting: what was begun ends, known or not.
            work = asyncio.ensure_future(handle(command))
            try:
                answered = await asyncio.shield(work)
                # a stored answer comes back with plain data: the same JSON, another Python type
                return method.answer.dump_json(answered, warnings=False)
            except Exception as error:  # the caller must hear that it failed, whatever it was
                log.warning("a call of %s failed: %s", self._service, error)
                await context.abort(grpc.StatusCode.ABORTED, f"{type(error).__name__}: {error}")
                raise

        return answer
