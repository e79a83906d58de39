"""Calls between services: typed contracts over gRPC, like Dubbo's interfaces.

A contract is a Protocol class whose methods take one frozen message and return one; a client stub
is made from the class. A call that is not answered in its time is *unknown*, never failed: the
caller asks again under the same key, or cancels.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

from labkit.runtime.errors import Unknown
from labkit.runtime.injection.failpoints import Failpoints, Refused
from labkit.runtime.injection.network import UNBROKEN, NetworkPath
from labkit.runtime.registry.files import Registry
from labkit.runtime.rpc.connection import Broken, Busy, Connection
from labkit.runtime.rpc.contract import Method, make_stub, methods_of
from labkit.runtime.telemetry import tracing
from labkit.runtime.telemetry.kinds import Kind

C = TypeVar("C")
#: What asks somebody, until a time of the monotonic clock, and gives the answer.
Ask = Callable[[Any, float], Awaitable[Any]]

#: Calls of the runtime itself, which no order waits for: they have no failpoints, and no spans.
UNTRACED = ("find_missing", "find_lost", "retry", "give_up", "take_back", "ask_around")
#: How old may be what is known of the instances, in seconds; less where one did not answer.
_FRESH, _FRESHER = 1.0, 0.05


class Calls:
    """Makes stubs for other services, found through the registry.

    Args:
        caller: this service's name; its failpoints bear it.
        registry: who serves what.
        secret: of the home; calls without it are refused.
        failpoints: crossed before and after each call; None for a tool outside.
        timeout: seconds that a call has, with all its tries.
        limit: how many calls may wait on one line.
    """

    def __init__(
        self,
        caller: str,
        registry: Registry,
        secret: str,
        failpoints: Failpoints | None,
        timeout: float,
        limit: int = 1000,
    ) -> None:
        self._caller = caller
        self._registry = registry
        self._secret = secret
        self._failpoints = failpoints
        self._timeout = timeout
        self._limit = limit
        self._links: dict[str, Connection] = {}

    def stub(
        self, contract: type[C], service: str, timeouts: Mapping[str, float] | None = None
    ) -> C:
        """An object with the contract's methods, each of which calls the service.

        Args:
            contract: the class that lists the calls.
            service: its name in the registry.
            timeouts: method → seconds, where it has not the usual time.

        Returns:
            The stub. Its methods raise `Unknown` where no answer came in time.
        """
        methods: dict[str, Any] = {
            name: self._method(service, name, method, (timeouts or {}).get(name, self._timeout))
            for name, method in methods_of(cast(type, contract)).items()
        }
        return make_stub(contract, methods)

    async def close(self) -> None:
        """Close all connections."""
        for link in self._links.values():
            await link.close()

    def outside(self, contract: type[C], service: str, client: C) -> C:
        """Put the boundaries of a call around a client of a system that is not ours.

        Args:
            contract: the Protocol class.
            service: what the system is called.
            client: does what the contract says, in its own way.

        Returns:
            An object with the contract's methods.
        """

        def asking(name: str) -> Ask:
            return lambda command, _expires: getattr(client, name)(command)

        methods = {
            name: self._crossing(service, name, asking(name), self._timeout)
            for name in methods_of(cast(type, contract))
        }
        return make_stub(contract, methods)

    def _method(self, service: str, name: str, method: Method, timeout: float) -> Any:
        async def ask(command: Any, expires: float) -> Any:
            body = method.request.dump_json(command)
            return method.answer.validate_json(await self._ask(service, name, body, expires))

        return self._crossing(service, name, ask, timeout)

    def _crossing(self, service: str, name: str, ask: Ask, timeout: float) -> Any:
        """A call as a method, with its failpoints and its span around what does it."""
        before, after = (f"{self._caller}.{name}.{when}_call" for when in ("before", "after"))
        failpoints = None if name in UNTRACED else self._failpoints

        async def cross(command: Any) -> Any:
            expires = time.monotonic() + timeout
            try:
                if failpoints and await failpoints.cross_async(before):
                    await ask(command, expires)
                answer = await ask(command, expires)
                if failpoints:
                    await failpoints.cross_async(after)
            except Refused as refused:
                raise Unknown(str(refused)) from refused
            return answer

        async def call(command: Any) -> Any:
            if not tracing.on or name in UNTRACED:
                return await cross(command)
            return await tracing.within(
                lambda: cross(command), name, Kind.CALL, command, peer=service
            )

        return call

    async def _ask(self, service: str, method: str, body: bytes, expires: float) -> bytes:
        """Ask one instance after another until the deadline: the key makes that safe."""
        cause: object = "no instance is registered"
        fresh = _FRESH
        while time.monotonic() < expires:
            link = self._pick(service, fresh)
            if link:
                try:
                    return await link.ask(method, body, expires, tracing.inject())
                except Broken as broken:
                    cause, fresh = broken, _FRESHER
                except Busy as busy:
                    raise Unknown(f"{service} is overloaded: {busy}") from busy
                except Unknown as unknown:
                    cause = unknown
                    break
            await asyncio.sleep(random.uniform(0.01, 0.03))  # jitter
        raise Unknown(f"{service} gave no answer to {method}: {cause}")

    def _pick(self, service: str, fresh: float) -> Connection | None:
        """The line to the instance with the least to do, of those that are well if any is."""
        instances = self._registry.instances(service, fresh)
        links = [self._link(instance.endpoint, service) for instance in instances]
        if len(links) == 1:
            return links[0]
        well = [link for link in links if link.well] or links
        return min(well, key=lambda link: (link.load, random.random()), default=None)

    def _link(self, endpoint: str, service: str) -> Connection:
        link = self._links.get(endpoint)
        if link is None or link.broken:

            def silent(link: Connection) -> None:
                if len(self._registry.instances(service, _FRESHER)) > 1:
                    link.give_up("it does not answer")  # what waits there is asked elsewhere

            before = link
            link = Connection(
                endpoint, service, self._secret, self._limit, silent, self._way(service)
            )
            if before and not before.well:
                link.doubt()
            self._forget_gone(service)
            self._links[endpoint] = link
        return link

    def _forget_gone(self, service: str) -> None:
        """Let go of broken lines to endpoints of a service where nobody serves any more."""
        serving = {instance.endpoint for instance in self._registry.instances(service, _FRESH)}
        self._links = {
            endpoint: link
            for endpoint, link in self._links.items()
            if not link.broken or link.service != service or endpoint in serving
        }

    def _way(self, service: str) -> NetworkPath:
        faults = self._failpoints and self._failpoints.standing
        return NetworkPath(faults, self._caller, service) if faults else UNBROKEN
