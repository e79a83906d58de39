"""A runner of scenarios on one lab: without a fault, to see what they reach, and with one."""

import time
from collections.abc import Iterator
from itertools import count

from sqlalchemy import select

from labkit.faults import points
from labkit.faults.verb import NotReached
from labkit.lab.lab import NotSettled
from labkit.matrix.cells import Cell, CellResult, CellVerdict
from labkit.matrix.context import ScenarioContext
from labkit.matrix.customer import Customer, Unexpected
from labkit.matrix.labs import RunnerLab, reset_lab
from labkit.matrix.scenario import SCENARIOS, ExpectedStates, Scenario
from labkit.ops.reader import Reader
from labkit.shop import tables as t
from labkit.stack.releases import newest
from labkit.stack.supervisor import launch
from labkit.waiting import poll_until, wait_until

_SETTLED_SECONDS = 30.0
#: Attempts after which the lab is reset: the invariants read all rows, which takes longer by then.
_MAX_ATTEMPTS = 40
_BACK_SECONDS = 10.0
#: Background work that a script starts reaches its failpoints this soon after settling, if at all.
_LATE_SECONDS = 1.0
_QUIET_SECONDS = 0.4
_POLL_SECONDS = 0.02


class Runner:
    """Runs scenarios and cells on one lab.

    Args:
        lab: used by this runner alone.
    """

    def __init__(self, lab: RunnerLab) -> None:
        self.lab = lab
        self._reader = Reader(lab.home)
        self._coupons = count(1, 2)  # the first user's are odd
        self._attempts = 0
        self._needs_reset = False

    def run_baseline(self, scenario: Scenario) -> frozenset[str]:
        """Run a scenario without a cell's fault, and return the failpoints that it reaches.

        It is run once more where it does not end as it must: on a busy machine a call may take
        longer than its time-out, and an order that should be placed is rightly cancelled.

        Raises:
            Unexpected: it ended wrongly twice, so that nothing can be said of faults in it.
        """
        try:
            reached = self._attempt_baseline(scenario)
        except Unexpected:
            points.disarm(self.lab.home)
            self._reset_if_needed()
            reached = self._attempt_baseline(scenario)
        self._reset_if_needed()
        return reached

    def run_cell(self, cell: Cell) -> CellResult:
        """Run a cell; once more where its failpoints are not reached at first."""
        began = time.monotonic()
        verdict, why = self._attempt(cell)
        tries = 1
        if verdict == CellVerdict.NOT_REACHED:
            self._reset_if_needed()
            tries, (verdict, why) = 2, self._attempt(cell)
        seconds = time.monotonic() - began
        self._attempts += tries
        if verdict == CellVerdict.BROKEN or self._attempts >= _MAX_ATTEMPTS:
            self._reset()
        self._reset_if_needed()
        return CellResult(cell, verdict, why, seconds, tries)

    def close(self) -> None:
        """Close the connections to the databases."""
        self._reader.close()

    def _attempt_baseline(self, scenario: Scenario) -> frozenset[str]:
        context = self._new_context(frozenset())
        script = scenario.script(context)
        try:
            next(script)
            self._wait_quiet()
            before = self._hits()
            expected = self._finish(script)
            self._wait_quiet()
            after = self._hits()
            problems = [
                *(f"its own fault {name} is not reached" for name in context.unspent_faults()),
                *self._breaches(context, expected),
            ]
        except (Unexpected, NotReached, NotSettled, TimeoutError) as error:
            problems = [str(error)]
        self._needs_reset |= context.needs_reset
        if problems:
            raise Unexpected(f"{scenario.name}, without a fault: {'; '.join(problems)}")
        return frozenset(
            name for name, hits in after.items() if hits > before[name] and scenario.covers(name)
        )

    def _attempt(self, cell: Cell) -> tuple[CellVerdict, str]:
        """Run a cell once; return the verdict, and why."""
        context = self._new_context(frozenset(cell.failpoints))
        script = SCENARIOS[cell.scenario].script(context)
        try:
            next(script)
            self._settle()
            return self._run_with_faults(cell, context, script)
        except Exception as error:  # whatever a fault leads to, the other cells are run too
            return CellVerdict.BROKEN, f"{type(error).__name__}: {error}"
        finally:
            points.disarm(self.lab.home)
            self._needs_reset |= context.needs_reset

    def _run_with_faults(
        self, cell: Cell, context: ScenarioContext, script: Iterator[None]
    ) -> tuple[CellVerdict, str]:
        """Arm the cell's faults, finish the script, wait until the lab is whole, and check."""
        before = self._pids()
        for name in cell.failpoints:
            points.arm(self.lab.home, name, cell.action)
        expected = self._finish(script)
        self._settle()
        missed = self._missed(cell)
        if cell.kills:
            self._wait_restarted(cell, missed, before)
        if not missed:  # delayed work is done when all else seems to be over
            time.sleep(cell.delay_seconds)
        self._settle()
        if problems := list(self._breaches(context, expected)):
            return CellVerdict.BROKEN, "; ".join(problems)
        if missed:
            return (
                CellVerdict.NOT_REACHED,
                f"nothing crossed {' or '.join(missed)} in this scenario",
            )
        return CellVerdict.HELD, ""

    def _missed(self, cell: Cell) -> list[str]:
        """List the failpoints that were not reached, after waiting a little for late work."""
        poll_until(lambda: not self._still_armed(cell), _LATE_SECONDS, _POLL_SECONDS)
        return self._still_armed(cell)

    def _still_armed(self, cell: Cell) -> list[str]:
        return [name for name in cell.failpoints if points.remaining(self.lab.home, name)]

    def _wait_restarted(self, cell: Cell, missed: list[str], before: dict[str, int]) -> None:
        """Wait until each killed service is up with another pid, which proves that it died.

        Raises:
            TimeoutError: one is not up again in time.
        """
        killed = {name.partition(".")[0] for name in cell.failpoints if name not in missed}
        killed &= before.keys()  # scripts about the supervisor and its helpers wait by themselves
        for service in killed:
            wait_until(
                lambda service=service: (
                    self._pids().get(service, before[service])  # type: ignore[misc]
                    != before[service]
                ),
                f"{service} is back after it died",
                _BACK_SECONDS,
                _POLL_SECONDS,
            )

    def _breaches(self, context: ScenarioContext, expected: ExpectedStates) -> Iterator[str]:
        """Describe each broken invariant, and each order that does not end as expected.

        The invariants compare what customers were answered too, so all requests are sent again
        before.
        """
        yield from _absence_breaches(context.customer)
        for order in [*context.customer.placed]:
            context.customer.resend(order)
        for result in newest.check(self.lab.home, self._reader):
            if not result["held"]:
                yield f"{result['name']}: {'; '.join(result['broken'][:3])}"
        rows = {row["address"]: row for row in self._reader.query("order", select(t.order))}
        for order, states in expected.items():
            row = rows.get(order.mark)
            state = row and (row["order_status"], row["pay_status"])
            if state not in states:
                yield f"order {order.order_id} ends as {state}, not as {sorted(states, key=str)}"

    def _new_context(self, armed: frozenset[str]) -> ScenarioContext:
        customer = Customer(self.lab.client, self._reader, self._coupons)
        return ScenarioContext(self.lab, self._reader, customer, armed)

    def _finish(self, script: Iterator[None]) -> ExpectedStates:
        """Run the rest of a script, and return the states that it expects."""
        try:
            next(script)
        except StopIteration as end:
            expected: ExpectedStates = end.value
            return expected
        raise AssertionError("a script yields once")

    def _settle(self) -> None:
        """Wait until nothing is in flight, unless the script has taken the lab down."""
        if launch.is_up(self.lab.home):
            self.lab.settle(_SETTLED_SECONDS)

    def _wait_quiet(self) -> None:
        """Settle, and wait until no failpoint is crossed any more."""
        self._settle()
        hits, since = self._hits(), time.monotonic()
        deadline = since + _BACK_SECONDS
        while time.monotonic() - since < _QUIET_SECONDS and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            now = self._hits()
            if now != hits:
                hits, since = now, time.monotonic()

    def _hits(self) -> dict[str, int]:
        return {point["name"]: point["hits"] for point in points.list_all(self.lab.home)}

    def _pids(self) -> dict[str, int]:
        return {
            process["name"]: process["pid"]
            for process in launch.status(self.lab.home)["services"]
            if process["pid"] and process["state"] == "up"
        }

    def _reset(self) -> None:
        reset_lab(self.lab)
        self._reader.close()
        self._coupons = count(1, 2)
        self._attempts = 0
        self._needs_reset = False

    def _reset_if_needed(self) -> None:
        if self._needs_reset:
            self._reset()


def _absence_breaches(customer: Customer) -> Iterator[str]:
    """Look up each order that was not placed: an order that was answered 404 must stay absent."""
    ids = {order.order_id for order in customer.placed if order.order_id and order.status != 200}
    for order_id in ids | customer.absent:
        try:
            customer.look_up(order_id)
        except Unexpected as error:
            yield str(error)
