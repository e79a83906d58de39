"""The twin as the scripts of the matrix use a lab: its world, its client, its reader."""

import asyncio
import random
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Connection

from labkit.home import Home
from labkit.lab.client import Client
from labkit.ops.history import Exchange, RequestKind
from labkit.ops.reader import Reader
from labkit.payment_platform.wiring import PLATFORM
from labkit.runtime.environment import Environment
from labkit.runtime.messaging.ports import Consumer
from labkit.runtime.rpc.client import Calls
from labkit.shop import messages as m
from labkit.shop.pay import messages as p
from labkit.sim.broker import SimBroker, SimCluster
from labkit.sim.clocks import SimClock
from labkit.sim.disk import SimDisk
from labkit.sim.front import Answer, Send
from labkit.sim.process import Process
from labkit.sim.registry import SimRegistry
from labkit.sim.sim_front import SimFront
from labkit.sim.world import World
from labkit.web.orders import PlaceOrderBody
from tests.support.parity.turns import Turns

_TOOL_S = 5.0  # that a call of a person's tool has
_NOWHERE = Home(Path(tempfile.gettempdir()) / "no-lab-is-here")


#: After how many seconds a process may have joined its consumer group on a busy machine.
_JOINED_S = (0.0, 0.0, 0.5, 1.0, 2.0)


class LateBroker(SimBroker):
    """A broker whose consumer group takes a while to be joined.

    Args:
        cluster: the brokers.
        process: the process.
        seconds: it takes.
    """

    def __init__(self, cluster: SimCluster, process: Process, seconds: float) -> None:
        super().__init__(cluster, process)
        self._seconds = seconds

    async def join(self, topics: Iterable[str]) -> Consumer:
        """Join the consumer group of the service."""
        await asyncio.sleep(self._seconds)
        return await super().join(topics)


class TwinWorld(World):
    """A world some of whose processes can be killed from outside, and kept down.

    Args:
        draw: how long it takes to join a consumer group; None: no time.
        arguments: of a world.
    """

    def __init__(self, draw: random.Random | None, *arguments: Any) -> None:
        self._held: set[str] = set()
        self._joining = draw
        super().__init__(*arguments)

    def kill(self, services: tuple[str, ...]) -> Mapping[str, Process]:
        """Kill all processes of some services, or of all where none is named; return them."""
        victims = {
            name: process
            for name, process in self._processes.items()
            if process.is_alive and (not services or process.service in services)
        }
        for process in victims.values():
            process.die()
        return victims

    def are_up(self) -> bool:
        """Return True if every process serves."""
        announced = self._facts.instances
        return all(socket.is_served for socket in self._sockets.values()) and all(
            process.is_alive and (process in announced or process.service == PLATFORM.name)
            for process in self._processes.values()
        )

    @contextmanager
    def held(self, service: str) -> Iterator[None]:
        """Kill a service for a block, and keep it down."""
        self._held.add(service)
        victims = self.kill((service,))
        yield
        self._held.remove(service)
        for dead in victims.values():
            self._start(dead.service, dead.number, dead.life + 1)

    def tool(self, name: str) -> tuple[Process, Calls]:
        """Return a process beside the shop, as a person's tool is one, and its calls."""
        process = Process(name, 1, 1)
        clock = SimClock(self.loop, process)
        registry = SimRegistry(self._facts, process, clock.wall_ms)
        connect = partial(self._network.connect, process, clock)
        return process, Calls(name, registry, connect, None, _TOOL_S, clock)

    def _environment(self, started: Process) -> Environment:
        environment = super()._environment(started)
        if self._joining is None:
            return environment
        seconds = self._joining.choice(_JOINED_S)
        return replace(environment, broker=LateBroker(self._cluster, started, seconds))

    def _outlive(self, dead: Process) -> None:
        if dead.service in self._held:
            self.deaths.append(dead)
        else:
            super()._outlive(dead)


class TwinFront(SimFront):
    """The front of the twin, with what only the matrix asks for."""

    async def find_payment(self, pay_id: int) -> Answer:
        """Look a payment up."""
        query = p.FindPayment(pay_id=pay_id)
        return await self._send(
            Exchange(RequestKind.FIND_PAYMENT, self._number, str(pay_id)),
            self._world.pay_web("find payment", lambda pay: pay.find_payment(query)),
        )

    async def exchange(self, send: Send) -> tuple[Answer, Exchange]:
        """Send a request; return the answer, and what was written down of it."""
        number = len(self.exchanges)
        answer = await send()
        return answer, self.exchanges[number]


class TwinReader(Reader):
    """A reader of the twin's databases.

    Args:
        disks: service → its database.
    """

    def __init__(self, disks: Mapping[str, SimDisk]) -> None:
        self.home = _NOWHERE
        self._disks = disks

    @contextmanager
    def snapshot(self, service: str) -> Iterator[Connection]:
        """Read one database for a block, while nothing else runs."""
        yield self._disks[service].connection


class TwinClient(Client):
    """A client of the twin's webs.

    Args:
        front: of the twin.
        reader: of its databases.
        turns: by which it waits.
    """

    def __init__(self, front: TwinFront, reader: TwinReader, turns: Turns) -> None:
        self._pay_web = ""  # a request's kind says where it goes
        self._front = front
        self._reader = reader
        self._turns = turns

    def _send(
        self,
        kind: RequestKind,
        url: str,  # noqa: ARG002
        subject: int | str = "",
        *,
        body: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> httpx.Response:
        send = self._way(kind, subject, body or {}, key or "")
        answer, exchange = self._turns.ask(self._front.exchange(send))
        if not answer.status:
            raise httpx.ConnectError("the twin did not answer")
        data = {
            name: str(value) if name.endswith("_id") and value is not None else value
            for name, value in answer.data.items()
        }
        result = {"name": exchange.name, "message": exchange.message, "data": data or None}
        return httpx.Response(answer.status, json=result)

    def _way(self, kind: RequestKind, subject: Any, body: Mapping[str, Any], key: str) -> Send:
        front = self._front
        if kind is RequestKind.PLACE:
            order = m.PlaceOrder(**PlaceOrderBody(**body).model_dump())
            return lambda: front.place(key, order)
        if kind in (RequestKind.PAY, RequestKind.GIVE_UP):
            return lambda: front.press(subject, kind)
        number = int(subject)
        ways: dict[RequestKind, Send] = {
            RequestKind.FIND: lambda: front.find(number),
            RequestKind.CANCEL: lambda: front.cancel(number, body["user_id"]),
            RequestKind.RETURN: lambda: front.return_order(number, body["user_id"]),
            RequestKind.OPEN_PAYMENT: lambda: front.open_payment(number),
            RequestKind.FIND_PAYMENT: lambda: front.find_payment(number),
        }
        return ways[kind]
