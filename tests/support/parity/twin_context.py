"""The context of a scenario that is played on the twin."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import count
from typing import TypeVar

from labkit.matrix.context import ScenarioContext
from labkit.matrix.customer import Customer
from labkit.ops import drive, payments_in_flight, reconcile
from labkit.ops.drive import ManualAction
from labkit.payment_platform.bill import write_bill
from labkit.payment_platform.messages import BillDay
from labkit.runtime.errors import Unknown
from labkit.runtime.messaging.dead_letters import StuckItem
from labkit.shop.codes import Code
from labkit.shop.pay.contract import PayService
from labkit.sim.clocks import SimLabClock
from labkit.sim.deviations import CUSTOMERS
from labkit.sim.front import PAUSES
from tests.support.parity.faults import ArmedFaults
from tests.support.parity.turns import Beside, Turns
from tests.support.parity.twin_world import TwinClient, TwinFront, TwinReader, TwinWorld

T = TypeVar("T")


class _Clock:
    """Business time, as a script moves it."""

    def __init__(self, clock: SimLabClock) -> None:
        self._clock = clock

    def advance(self, **by: float) -> None:
        """Move it forward."""
        self._clock.advance(timedelta(**by))


class _Lab:
    """What a script uses of a lab itself."""

    def __init__(self, world: TwinWorld) -> None:
        self.clock = _Clock(world.lab_clock)


class TwinContext(ScenarioContext):
    """The twin and the customer on which the script of a scenario acts.

    Args:
        world: the twin.
        front: of it.
        reader: of its databases.
        faults: in which the script's own are armed.
        armed: the failpoints that are armed beside.
    """

    def __init__(
        self,
        world: TwinWorld,
        front: TwinFront,
        reader: TwinReader,
        faults: ArmedFaults,
        armed: frozenset[str],
    ) -> None:
        self._turns = Turns(world.loop)
        client = TwinClient(front, reader, self._turns)
        customer = Customer(client, reader, count(1, 2), self._turns)
        super().__init__(_Lab(world), reader, customer, armed)  # type: ignore[arg-type]  # a part of it
        self._world = world
        self._faults = faults

    def inject(self, failpoint: str, action: str, times: int = 1) -> None:
        """Arm a fault that belongs to the script."""
        if failpoint not in self._armed:
            self._faults.arm(failpoint, action, times)
            self._injected.append(failpoint)

    def unspent_faults(self) -> list[str]:
        """List the script's own faults that have not acted as often as they are armed for."""
        return [name for name in self._injected if self._faults.remaining(name)]

    @contextmanager
    def background(self, work: Callable[[], T]) -> Iterator[Beside[T]]:
        """Do something beside a block, which ends no sooner than that."""
        beside = self._turns.begin(work)
        try:
            yield beside
        finally:
            self._turns.wait_for(beside.done, "what goes on beside")

    @contextmanager
    def outage(self, service: str) -> Iterator[None]:
        """Keep a service down for a block."""
        with self._world.held(service):
            yield
        self._turns.wait_for(self._world.are_up, f"{service} is back")

    def power_cut(self, *services: str) -> None:
        """Kill services at once, all where none is named, and wait until all are back."""
        self._world.kill(services)
        self._turns.wait_for(self._world.are_up, "all services are back after a power cut")

    def reconcile(self) -> None:
        """Compare today's bill and repair, again until the platform has given one."""
        day = self._world.lab_clock.now().date()
        reconciler = reconcile.Reconciler(
            self._reader, self._fetch_bill, self._check_payments, self._turns
        )

        def is_done() -> bool:
            try:
                return reconciler.run(day) is not None
            except ConnectionError:  # the platform gave none
                return False

        self.customer.wait_until(is_done, "the day is reconciled")

    def _fetch_bill(self, day: date) -> str:
        query = BillDay(day=day)
        ask = self._world.platform("bill", lambda api: api.database.run(write_bill, query))
        return self._turns.ask(ask)

    def _check_payments(self, pay_ids: set[int]) -> dict[int, str]:
        process, calls = self._world.tool("reconcile")
        payments = calls.stub(PayService, "pay")
        return self._turns.ask_in(process, reconcile.check_payments(payments, pay_ids))

    def _answers(self, action: ManualAction, id: str) -> bool:
        service, _, place = id.partition(".")
        box, _, number = place.rpartition(".")
        item = StuckItem(number=int(number), outbox=box == "outbox")

        async def find_payment(number: int) -> int | None:
            return payments_in_flight.find_payment(self._reader, number)

        if pause := self._world.decisions.decide(f"{CUSTOMERS}{action}", PAUSES):
            self._turns.sleep(float(pause.partition(":")[2]))
        process, calls = self._world.tool("desk")
        work = drive.apply(calls, find_payment, action, service, item)
        try:
            return self._turns.ask_in(process, work).code != Code.DEPENDENCY_AWAY
        except Unknown:
            return False
