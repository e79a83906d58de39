"""Calls between services: typed contracts, like Dubbo's interfaces.

A contract is a class whose methods take one frozen message and return one; a client stub is made
from the class. A call that is not answered in its time is *unknown*, never failed: the caller asks
again under the same key, or cancels.
"""

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar, cast

from labkit.results import Message
from labkit.runtime.clock import Clock, MachineClock
from labkit.runtime.errors import Unknown
from labkit.runtime.evolution import write
from labkit.runtime.injection.failpoints import Failpoints, Refused
from labkit.runtime.injection.network import UNBROKEN, NetworkPath
from labkit.runtime.registry.ports import Registry
from labkit.runtime.rpc.contract import Method, make_stub, methods_of
from labkit.runtime.rpc.ports import Broken, Busy, Connect, Connection
from labkit.runtime.telemetry import tracing
from labkit.runtime.telemetry.kinds import Kind

C = TypeVar("C")
#: Sends a command, waits until a time of the monotonic clock at most, and returns the answer.
Send = Callable[[Message, float], Awaitable[object]]
StubMethod = Callable[[Message], Awaitable[object]]

#: Calls of the runtime itself, which no order waits for: they have no failpoints, and no spans.
UNTRACED = (
    "find_missing",
    "find_lost",
    "find_held",
    "retry",
    "give_up",
    "take_back",
    "ask_around",
)
#: How old the list of instances may be; and where one of them did not answer.
_INSTANCES_MAX_AGE_S, _INSTANCES_MAX_AGE_AFTER_TROUBLE_S = 1.0, 0.05


class Calls:
    """Makes stubs for other services, found through the registry.

    Args:
        caller: this service's name; its failpoints bear it.
        registry: the instances of each service.
        connect: opens the connection to an instance.
        failpoints: crossed before and after each call; None for a tool that is no service.
        timeout: seconds that a call has, with all its tries.
        clock: what deadlines and pauses are measured by.
    """

    def __init__(
        self,
        caller: str,
        registry: Registry,
        connect: Connect,
        failpoints: Failpoints | None,
        timeout: float,
        clock: Clock | None = None,
    ) -> None:
        self._caller = caller
        self._registry = registry
        self._connect = connect
        self._failpoints = failpoints
        self._timeout = timeout
        self._clock = clock or MachineClock()
        self._connections: dict[str, Connection] = {}

    def stub(
        self, contract: type[C], service: str, timeouts: Mapping[str, float] | None = None
    ) -> C:
        """Return an object with the contract's methods, each of which calls the service.

        Args:
            contract: the class that lists the calls.
            service: its name in the registry.
            timeouts: method → seconds, for those that have another time than the usual one.

        Returns:
            The stub. Its methods raise `Unknown` where no answer came in time.
        """
        methods: dict[str, StubMethod] = {
            name: self._method(service, name, method, (timeouts or {}).get(name, self._timeout))
            for name, method in methods_of(cast(type, contract)).items()
        }
        return make_stub(contract, methods)

    async def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.values():
            await connection.close()

    def outside(self, contract: type[C], service: str, client: C) -> C:
        """Put the boundaries of a call around a client of a system that is not ours.

        Args:
            contract: the Protocol class.
            service: the name of the system.
            client: carries the contract out in its own way.

        Returns:
            An object with the contract's methods.
        """

        def sender(name: str) -> Send:
            return lambda command, _expires: getattr(client, name)(command)

        methods = {
            name: self._crossing(service, name, sender(name), self._timeout)
            for name in methods_of(cast(type, contract))
        }
        return make_stub(contract, methods)

    def _method(self, service: str, name: str, method: Method, timeout: float) -> StubMethod:
        async def send(command: Message, expires: float) -> object:
            body = write(command).encode()
            return method.answer.validate_json(await self._ask(service, name, body, expires))

        return self._crossing(service, name, send, timeout)

    def _crossing(self, service: str, name: str, send: Send, timeout: float) -> StubMethod:
        """Return a method that sends a call, with its failpoints and its span around it."""
        before, after = (f"{self._caller}.{name}.{when}_call" for when in ("before", "after"))
        failpoints = None if name in UNTRACED else self._failpoints

        async def cross(command: Message) -> object:
            expires = self._clock.monotonic() + timeout
            twice = False
            try:
                if failpoints and not failpoints.passes(before):
                    twice = await failpoints.cross_async(before)
                if twice:
                    await send(command, expires)
                answer = await send(command, expires)
                if failpoints and not failpoints.passes(after):
                    await failpoints.cross_async(after)
            except Refused as refused:
                raise Unknown(str(refused)) from refused
            return answer

        async def call(command: Message) -> object:
            if not tracing.on or name in UNTRACED:
                return await cross(command)
            about = {"peer": service, "order_id": tracing.order_of(command)}
            with tracing.span(name, Kind.CALL, **about) as span:
                answer = await cross(command)
                span.note(answer)
                return answer

        return call

    async def _ask(self, service: str, method: str, body: bytes, expires: float) -> bytes:
        """Ask one instance after another until the deadline: the key makes that safe."""
        cause: object = "no instance is registered"
        max_age_s = _INSTANCES_MAX_AGE_S
        while self._clock.monotonic() < expires:
            connection = self._pick(service, max_age_s)
            if connection:
                try:
                    return await connection.ask(method, body, expires, tracing.inject())
                except Broken as broken:
                    cause, max_age_s = broken, _INSTANCES_MAX_AGE_AFTER_TROUBLE_S
                except Busy as busy:
                    raise Unknown(f"{service} is overloaded: {busy}") from busy
                except Unknown as unknown:
                    cause = unknown
                    break
            await self._clock.sleep(random.uniform(0.01, 0.03))  # jitter
        raise Unknown(f"{service} gave no answer to {method}: {cause}")

    def _pick(self, service: str, max_age_s: float) -> Connection | None:
        """Return the connection with the least to do, of the healthy ones if there are any."""
        instances = self._registry.instances(service, max_age_s)
        connections = [self._connection(instance.endpoint, service) for instance in instances]
        if len(connections) == 1:
            return connections[0]
        healthy = [connection for connection in connections if connection.healthy]
        return min(
            healthy or connections,
            key=lambda connection: (connection.load, random.random()),
            default=None,
        )

    def _connection(self, endpoint: str, service: str) -> Connection:
        """Return the connection to an instance; make a new one if the old one is broken."""
        before = self._connections.get(endpoint)
        if before and not before.broken:
            return before
        connection = self._connect(endpoint, service, self._ask_elsewhere, self._path(service))
        if before and not before.healthy:
            connection.suspect()
        self._forget_broken(service)
        self._connections[endpoint] = connection
        return connection

    def _ask_elsewhere(self, unresponsive: Connection) -> None:
        """Fail the calls that wait for an instance, if another one can be asked again."""
        max_age_s = _INSTANCES_MAX_AGE_AFTER_TROUBLE_S
        if len(self._registry.instances(unresponsive.service, max_age_s)) > 1:
            unresponsive.fail_waiting("it does not answer")

    def _forget_broken(self, service: str) -> None:
        """Forget broken connections to endpoints of a service where nobody serves any more."""
        instances = self._registry.instances(service, _INSTANCES_MAX_AGE_S)
        serving = {instance.endpoint for instance in instances}
        self._connections = {
            endpoint: connection
            for endpoint, connection in self._connections.items()
            if not connection.broken or connection.service != service or endpoint in serving
        }

    def _path(self, service: str) -> NetworkPath:
        faults = self._failpoints and self._failpoints.standing
        return NetworkPath(faults, self._caller, service) if faults else UNBROKEN
