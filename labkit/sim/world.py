"""The world of one life: every process of the shop, and what they stand on."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from labkit.payment_api import keys
from labkit.payment_platform.api import Api
from labkit.payment_platform.wiring import PLATFORM
from labkit.runtime import critical
from labkit.runtime.environment import Environment
from labkit.runtime.registry.ids import IdMaker
from labkit.runtime.service import ServiceRuntime
from labkit.settings import Settings
from labkit.shop.codes import Code
from labkit.shop.order.contract import OrderService
from labkit.shop.pay.contract import PayService
from labkit.sim import process
from labkit.sim.broker import SimBroker, SimCluster
from labkit.sim.clocks import SimClock, SimLabClock
from labkit.sim.deviations import Decisions
from labkit.sim.disk import SimDisk, open_database
from labkit.sim.failpoints import SimFailpoints
from labkit.sim.keys import private, public
from labkit.sim.loop import SimLoop
from labkit.sim.network import SimNetwork, SimServer
from labkit.sim.plan import Plan
from labkit.sim.platform import SimPoster, assemble, take_form
from labkit.sim.points import FAILPOINTS, SILENT, TURNS, WIRED, starts_of
from labkit.sim.process import Process
from labkit.sim.recording import Record
from labkit.sim.registry import Facts, SimRegistry
from labkit.sim.shops import Mix, Shop
from labkit.sim.sockets import SimSocket
from labkit.web.payments import take_callback
from labkit.web.platform_client import PlatformClient

T = TypeVar("T")

RESTART_S = 0.2  # from a death until the supervisor has started another process
_ANSWER_TIMEOUT_S = 5.0  # of a notice
_WEBS = ("order-web", "pay-web")
#: Where forms are posted to.
_URLS = {PLATFORM.name: f"http://{PLATFORM.name}", "pay-web": "http://pay-web"}
#: What differs from a lab's own settings: shorter times, so that a life is over sooner.
_SETTINGS = {
    "audit_delay": 0.05,
    "check_first": 0.4,
    "flow_timeout": 2.5,
    "group_session": 0.6,
    "partitions": 2,
    "sweep_interval": 0.6,
    "unconfirmed_deadline": 3.0,
    "worker_reserve": 1.0,
}
#: A quarter of all lives forgets what has been settled for so long, and less than some records are
#: late: so a repetition may come after all its rows are gone.
_KEPT_S, _FORGETS_EVERY = 0.3, 4
SETTINGS = Settings.model_construct(
    **{name: field.default for name, field in Settings.model_fields.items()} | _SETTINGS
)


class World:
    """All processes of one life.

    Args:
        disks: service → its database.
        plan: says how many processes each service has, and what is random.
        decisions: decide what happens.
        record: of the life.
        restart_s: from a death until the supervisor has started another process.
        settings: of all processes; by default those of the plan.

    Attributes:
        loop: the loop.
        decisions: decide what happens.
        lab_clock: business time.
        deaths: the processes that died.
        mix: which release each process runs.
        defects: why processes ended that nobody killed.
    """

    def __init__(
        self,
        disks: Mapping[str, SimDisk],
        plan: Plan,
        decisions: Decisions,
        record: Record,
        restart_s: float = RESTART_S,
        settings: Settings | None = None,
    ) -> None:
        self._restart_s = restart_s
        self._settings = settings = settings or settings_of(plan)
        self.loop = SimLoop(process.not_before)  # type: ignore[abstract]  # what it lacks raises
        self.lab_clock = SimLabClock(self.loop)
        decisions.now = self.loop.time
        self.deaths: list[Process] = []
        self.defects: list[str] = []
        self.decisions = decisions
        self._disks = disks
        self._draw = random.Random(plan.seed)
        self.mix = Mix(plan.seed)
        self._network = SimNetwork(self.loop, record)
        self._facts = Facts()
        self._cluster = SimCluster(
            self.loop,
            decisions,
            record,
            settings.partitions,
            settings.group_session,
            plan.seed,
        )
        self._is_silent = False
        self._processes: dict[str, Process] = {}
        self._sockets = {name: SimSocket(name) for name in (*_WEBS, PLATFORM.name)}
        critical.end_by(self._end_current)
        for name, wired in WIRED.items():
            for number in range(1, (plan.instances if wired.contract else 1) + 1):
                self._start(name, number, 1)

    async def order_web(self, what: str, work: Callable[[OrderService], Awaitable[T]]) -> T:
        """Ask the order web, which answers by the order service.

        Raises:
            ConnectionError: the web died.
        """
        return await self._ask("order-web", what, work)

    async def pay_web(self, what: str, work: Callable[[PayService], Awaitable[T]]) -> T:
        """Ask the pay web, which answers by the pay service.

        Raises:
            ConnectionError: the web died.
        """
        return await self._ask("pay-web", what, work)

    async def platform(self, what: str, work: Callable[[Api], Awaitable[T]]) -> T:
        """Ask the platform.

        Raises:
            ConnectionError: the platform died.
        """
        return await self._ask(PLATFORM.name, what, work)

    def close(self) -> None:
        """Forget everything that was to be run, and close what waits."""
        self.loop.stop()
        for task in asyncio.all_tasks(self.loop):
            with suppress(RuntimeError):  # it awaits something while it is closed
                task.get_coro().close()

    def _cut_power(self) -> None:
        """Kill all processes."""
        for victim in list(self._processes.values()):
            if victim.is_alive:
                victim.die()

    async def _ask(self, name: str, what: str, work: Callable[[Any], Awaitable[T]]) -> T:
        return await self._network.exchange(self._sockets[name], what, work)

    def _start(self, name: str, number: int, life: int) -> None:
        started = Process(name, number, life)
        event = self.decisions.decide(f"{name}.start", starts_of(name))
        self._is_silent |= event == SILENT
        started.ahead_ms = int(float(event.partition(":")[2] or 0) * 1000)
        if life == 1:
            self.decisions.decide_turns(started, TURNS)
        self._processes[started.name] = started
        started.at_death(partial(self._outlive, started))
        self.loop.call_soon(self._run, started, context=started.context)

    def _outlive(self, dead: Process) -> None:
        """Start another process after one that died, as the supervisor does."""
        self.deaths.append(dead)
        self.loop.call_outside(
            self._restart_s, self._start, dead.service, dead.number, dead.life + 1
        )

    def _run(self, started: Process) -> None:
        """Make what runs in a process, inside of it."""
        name = started.service
        environment = self._environment(started)
        if name == PLATFORM.name:
            poster = SimPoster(self._notify, _ANSWER_TIMEOUT_S)
            api = assemble(environment, _URLS[name], poster, self._token)
            critical.create_task(api.notifier.run(), "notifier")
            self._sockets[name].serve(started, api)
            return
        shop = self.mix.shop_of(name)
        wired, outside = shop.services[name], self._outside() if name == "pay" else {}
        runtime = ServiceRuntime(
            wired, started.number, environment, shop.groups, shop.senders, shop.names, outside
        )
        if wired.contract:
            starting = self.loop.create_task(runtime.start())
            starting.add_done_callback(lambda done: _die_with(done, started))
        else:
            runtime.announce(started.endpoint)
            stub = _stub_of(name, shop, runtime, self._settings.flow_timeout)
            self._sockets[name].serve(started, stub)

    def _environment(self, started: Process) -> Environment:
        clock = SimClock(self.loop, started)
        registry = SimRegistry(self._facts, started, clock.wall_ms)
        reserve_ms = int(self._settings.worker_reserve * 1000)
        return Environment(
            settings=self._settings,
            clock=clock,
            lab_clock=self.lab_clock,
            failpoints=SimFailpoints(
                started, self.decisions, FAILPOINTS[started.service], self._cut_power
            ),
            registry=registry,
            broker=SimBroker(self._cluster, started),
            connect=partial(self._network.connect, started, clock),
            make_server=lambda: SimServer(self._network, started, clock),
            make_ids=lambda: IdMaker(registry.lease_worker(reserve_ms), clock.wall_ms, clock.block),
            open_database=lambda defaults: open_database(
                self._disks[started.service], started, defaults, self.loop, clock
            ),
        )

    def _outside(self) -> dict[str, object]:
        client = PlatformClient(
            _URLS[PLATFORM.name],
            keys.APP_ID,
            private(keys.MERCHANT),
            public(keys.PLATFORM),
            notify_url=f"{_URLS['pay-web']}/pay/callback",
            poster=SimPoster(self._post, self._settings.call_timeout),
        )
        return {"platform": client, "platform_key": public(keys.PLATFORM)}

    async def _notify(self, host: str, path: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        """Bring a notice to the pay web, unless all of them are lost.

        Raises:
            ConnectionError: they are.
        """
        if self._is_silent:
            raise ConnectionError("no notice arrives")
        return await self._post(host, path, form)

    async def _post(self, host: str, path: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        """Bring a form to the platform or the pay web."""
        if host == PLATFORM.name:
            return await self.platform(path, lambda api: take_form(api, path, form))
        result = await self.pay_web(path, lambda payments: take_callback(payments, form))
        return Code(result.code).status, b"success" if result.success else b"fail"

    def _token(self) -> str:
        return f"{self._draw.getrandbits(128):032x}"

    def _end_current(self, _status: int) -> None:
        """End the process that runs now, because a part of it has ended."""
        ended = process.current()
        assert ended, "what belongs to no process cannot end one"
        self.defects.append(f"{ended.name} ended by itself")
        ended.die()


def settings_of(plan: Plan) -> Settings:
    """Return the settings of all processes of a life."""
    if plan.seed % _FORGETS_EVERY == _FORGETS_EVERY // 2:
        return SETTINGS.model_copy(update={"message_retention": _KEPT_S})
    return SETTINGS


def _die_with(done: "asyncio.Task[None]", started: Process) -> None:
    """End a process that could not start, as Python ends a real one."""
    if started.is_alive and not done.cancelled() and done.exception():
        started.die()


def _stub_of(web: str, shop: Shop, runtime: ServiceRuntime, flow: float) -> object:
    """Return a web's way to its service, which answers a flow within some seconds."""
    if web == "order-web":
        timeouts = {"confirm_order": flow, "open_order": flow / 2}
        return runtime.calls.stub(shop.order_service, "order", timeouts)
    timeouts = {"create_payment": flow, "take_callback": flow / 2}
    return runtime.calls.stub(shop.pay_service, "pay", timeouts)
