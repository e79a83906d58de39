"""Playing scenarios on one lab: without a fault, to see what they reach, and with one."""

import time
from collections.abc import Iterator
from itertools import count

from sqlalchemy import select

from labkit.faults import points
from labkit.lab.lab import NotSettled
from labkit.matrix.cells import BROKEN, HELD, NOT_REACHED, Cell, Outcome
from labkit.matrix.customer import Customer, Unexpected
from labkit.matrix.labs import RunnerLab, begin_anew
from labkit.matrix.scenario import SCENARIOS, JobResults, Scenario
from labkit.matrix.stage import ScenarioContext
from labkit.ops.invariants import check
from labkit.ops.reader import Reader
from labkit.shop import tables as t
from labkit.stack.supervisor import launch

_SETTLED_SECONDS = 30.0
#: The invariants look at all rows: after so many cells that takes longer than to begin anew.
_GATHERED = 40
_BACK_SECONDS = 10.0
#: What a story sets off in the background is crossed soon after it has settled, if at all.
_LATE_SECONDS = 1.0
_QUIET_SECONDS = 0.4
_POLL_SECONDS = 0.02


class Runner:
    """Plays on one lab.

    Args:
        lab: is used by nobody else meanwhile.
    """

    def __init__(self, lab: RunnerLab) -> None:
        self.lab = lab
        self._reader = Reader(lab.home)
        self._coupons = count(1, 2)  # the first user's are odd
        self._played = 0
        self._emptied = False

    def column(self, scenario: Scenario) -> frozenset[str]:
        """The failpoints that a scenario crosses when nothing fails but what it breaks itself.

        It is told once more where it does not end as it must: on a busy machine a call may take
        longer than its time, and an order that should be placed is rightly cancelled.

        Raises:
            Unexpected: it did so twice, so that nothing can be said of faults in it.
        """
        try:
            found = self._reached(scenario)
        except Unexpected:
            points.disarm(self.lab.home)
            self._renew_if_emptied()
            found = self._reached(scenario)
        self._renew_if_emptied()
        return found

    def _reached(self, scenario: Scenario) -> frozenset[str]:
        """One try of that."""
        stage = self._stage(frozenset())
        story = scenario.story(stage)
        try:
            next(story)
            self._become_quiet()
            before = self._hits()
            ends = self._end_of(story)
            self._become_quiet()
            after = self._hits()
            problems = [
                *(f"it breaks {name}, which is not reached" for name in stage.idle()),
                *self._breaches(stage, ends),
            ]
        except (Unexpected, NotSettled, TimeoutError) as error:
            problems = [str(error)]
        self._emptied |= stage.emptied
        if problems:
            raise Unexpected(f"{scenario.name}, without a fault: {'; '.join(problems)}")
        return frozenset(
            name for name, hits in after.items() if hits > before[name] and scenario.concerns(name)
        )

    def play(self, cell: Cell) -> Outcome:
        """Play a cell; once more where its failpoints are not reached at first."""
        began = time.monotonic()
        verdict, why = self._try(cell)
        tries = 1
        if verdict == NOT_REACHED:
            self._renew_if_emptied()
            tries, (verdict, why) = 2, self._try(cell)
        seconds = time.monotonic() - began
        self._played += tries
        if verdict == BROKEN or self._played >= _GATHERED:
            self._begin_anew()
        self._renew_if_emptied()
        return Outcome(cell, verdict, why, seconds, tries)

    def close(self) -> None:
        """Let go of the databases."""
        self._reader.close()

    def _try(self, cell: Cell) -> tuple[str, str]:
        """One try of a cell: the verdict, and why."""
        stage = self._stage(frozenset(cell.failpoints))
        story = SCENARIOS[cell.scenario].story(stage)
        try:
            next(story)
            self._settle()
            return self._break(cell, stage, story)
        except Exception as error:  # whatever comes of a fault, the other cells are played too
            return BROKEN, f"{type(error).__name__}: {error}"
        finally:
            points.disarm(self.lab.home)
            self._emptied |= stage.emptied

    def _break(self, cell: Cell, stage: ScenarioContext, story: Iterator[None]) -> tuple[str, str]:
        """Arm, tell the story, have what died come back; then look at everything."""
        before = self._pids()
        for name in cell.failpoints:
            points.arm(self.lab.home, name, cell.action)
        ends = self._end_of(story)
        self._settle()
        missed = self._missed(cell)
        if cell.crashes:
            self._await_back(cell, missed, before)
        if not missed:  # what is late comes when all else seems to be over
            time.sleep(cell.late_seconds)
        self._settle()
        if problems := list(self._breaches(stage, ends)):
            return BROKEN, "; ".join(problems)
        if missed:
            return NOT_REACHED, f"nothing crossed {' or '.join(missed)} in this story"
        return HELD, ""

    def _missed(self, cell: Cell) -> list[str]:
        """The failpoints that were not reached, after waiting a little for what comes late."""

        def left() -> list[str]:
            return [name for name in cell.failpoints if points.left(self.lab.home, name)]

        deadline = time.monotonic() + _LATE_SECONDS
        while left() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return left()

    def _await_back(self, cell: Cell, missed: list[str], before: dict[str, int]) -> None:
        """What was killed must be back as another process: the proof that it died.

        Raises:
            TimeoutError: it is not back in time.
        """
        died = {name.partition(".")[0] for name in cell.failpoints if name not in missed}
        died &= before.keys()  # the supervisor and its helpers: their story waits for them itself
        deadline = time.monotonic() + _BACK_SECONDS
        for service in died:
            while self._pids().get(service, before[service]) == before[service]:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{service} is not back {_BACK_SECONDS:.0f} s after it died")
                time.sleep(_POLL_SECONDS)

    def _breaches(self, stage: ScenarioContext, ends: JobResults) -> Iterator[str]:
        """What does not hold: an invariant, or the end that the story expects.

        What customers were told is among the invariants, so all are asked once more before.
        """
        yield from _absence_breaches(stage.user)
        for order in [*stage.user.placed]:
            stage.user.again(order)
        for one in check.check(self._reader):
            if not one["held"]:
                yield f"{one['name']}: {'; '.join(one['broken'][:3])}"
        rows = {row["address"]: row for row in self._reader.query("order", select(t.order))}
        for order, states in ends.items():
            found = rows.get(order.mark)
            state = found and (found["order_status"], found["pay_status"])
            if state not in states:
                yield f"order {order.order_id} ends as {state}, not as {sorted(states, key=str)}"

    def _stage(self, armed: frozenset[str]) -> ScenarioContext:
        user = Customer(self.lab.client, self._reader, self._coupons)
        return ScenarioContext(self.lab, self._reader, user, armed)

    def _end_of(self, story: Iterator[None]) -> JobResults:
        """Tell the rest of a story."""
        try:
            next(story)
        except StopIteration as end:
            ends: JobResults = end.value
            return ends
        raise AssertionError("a story yields once")

    def _settle(self) -> None:
        """Wait until nothing is in flight, unless the story begins with a lab that is down."""
        if launch.is_up(self.lab.home):
            self.lab.settle(_SETTLED_SECONDS)

    def _become_quiet(self) -> None:
        """Settle, and wait until nothing is crossed any more."""
        self._settle()
        hits, since = self._hits(), time.monotonic()
        deadline = since + _BACK_SECONDS
        while time.monotonic() - since < _QUIET_SECONDS and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            now = self._hits()
            if now != hits:
                hits, since = now, time.monotonic()

    def _hits(self) -> dict[str, int]:
        return {one["name"]: one["hits"] for one in points.list_all(self.lab.home)}

    def _pids(self) -> dict[str, int]:
        return {
            one["name"]: one["pid"]
            for one in launch.status(self.lab.home)["services"]
            if one["state"] == "up"
        }

    def _begin_anew(self) -> None:
        begin_anew(self.lab)
        self._reader.close()
        self._coupons = count(1, 2)
        self._played = 0
        self._emptied = False

    def _renew_if_emptied(self) -> None:
        """Begin anew where a story has put other data in."""
        if self._emptied:
            self._begin_anew()


def _absence_breaches(user: Customer) -> Iterator[str]:
    """Look up what was not placed; "there is no such order" must stay so."""
    named = {order.order_id for order in user.placed if order.order_id and order.status != 200}
    for order_id in named | user.absent:
        try:
            user.look_up(order_id)
        except Unexpected as error:
            yield str(error)
