"""Scenarios of the matrix on the twin."""

import gc
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from labkit.matrix.customer import Unexpected
from labkit.matrix.labs import BALANCE, STOCK, settings
from labkit.matrix.scenario import SCENARIOS, ExpectedStates
from labkit.runtime.clock import as_time
from labkit.settings import Settings
from labkit.sim.clocks import START_MS
from labkit.sim.deviations import Decisions
from labkit.sim.life import Stage, clocks_of
from labkit.sim.plan import Plan
from labkit.sim.recording import Record
from labkit.sim.search import silence
from labkit.sim.world import RESTART_S
from labkit.stack.setup.seeds import Seeds, rows_of
from tests.support.endings import Ending, ending_of_stage
from tests.support.parity.faults import ArmedFaults
from tests.support.parity.turns import Stuck
from tests.support.parity.twin_context import TwinContext
from tests.support.parity.twin_world import TwinFront, TwinReader, TwinWorld

#: The first data on both: as in the matrix, but few coupons, whose rows are compared each time.
SEEDS = Seeds(users=2, stock=STOCK, balance=BALANCE, coupons=10)
_LATE_S = 1.0  # in which background work reaches its failpoint, if at all


@dataclass(frozen=True)
class Circumstances:
    """What is left to chance in a life.

    Attributes:
        seed: of the product's jitter, and of what is late.
        restart_s: from a process's death until the next one is started.
        late: the share of crossings that are a little late.
        slow: what the points begin with that alone are late; empty: all are.
    """

    seed: int = 0
    restart_s: float = RESTART_S
    late: float = 0.0
    slow: str = ""


@dataclass(frozen=True)
class TwinEnd:
    """The end of a scenario on the twin.

    Attributes:
        ending: all tables.
        crossed: the points that were crossed after the scenario had prepared, in order.
        is_crashed: whether the crash has happened.
        problems: what must not be, in words.
    """

    ending: Ending
    crossed: tuple[str, ...]
    is_crashed: bool
    problems: tuple[str, ...]


class TwinStage:
    """Databases in memory, on which one scenario after the other is played, by one thread."""

    def __init__(self) -> None:
        self._stage = Stage(rows_of(SEEDS, as_time(START_MS)))
        self._settings = _settings()
        self._lock = threading.Lock()
        gc.collect()
        gc.freeze()  # after each life the collector runs, and need not look at all that is loaded

    def play(
        self, name: str, crash: str = "", by: Circumstances = Circumstances()
    ) -> TwinEnd:  # it is frozen
        """Play a scenario, with a crash at a failpoint unless that is empty."""
        faults = ArmedFaults(random.Random(by.seed), by.late, by.slow)
        decisions = Decisions(faults, Record())
        plan = Plan((), seed=by.seed)
        with self._lock, silence(), self._stage.new_life(by.seed):
            joining = random.Random(by.seed) if by.late else None
            world = TwinWorld(
                joining, self._stage.disks, plan, decisions, Record(), by.restart_s, self._settings
            )
            try:
                return self._play(world, name, crash, faults)
            finally:
                world.close()
                del world, decisions  # so that what is left of it is closed inside of this block

    def _play(self, world: TwinWorld, name: str, crash: str, faults: ArmedFaults) -> TwinEnd:
        front, reader = TwinFront(world), TwinReader(self._stage.disks)
        armed = frozenset({crash} - {""})
        context = TwinContext(world, front, reader, faults, armed)
        script = SCENARIOS[name].script(context)
        next(script)
        problems = [*self._stage.settle(world)]
        before = len(world.decisions.order)
        faults.slow_down()
        if crash:
            faults.arm(crash, "crash")
        try:
            expected = finish(script)
            problems += self._end(world, faults, crash)
            problems += _breaches(reader, expected)
        except (Unexpected, Stuck) as error:
            problems.append(str(error))
        problems += world.defects
        if not crash:
            unspent = context.unspent_faults()
            problems += [f"its own fault {name} is not reached" for name in unspent]
        problems += self._stage.checker.check(front.exchanges, clocks_of(world))
        return TwinEnd(
            ending_of_stage(self._stage),
            tuple(point for point, _ in world.decisions.order[before:]),
            bool(crash) and not faults.remaining(crash),
            tuple(problems),
        )

    def _end(self, world: TwinWorld, faults: ArmedFaults, crash: str) -> Iterator[str]:
        """Settle; let a crash happen that is late, and everything be up again."""
        yield from self._stage.settle(world)
        world.loop.run_until(lambda: not faults.remaining(crash), _LATE_S)
        if not world.loop.run_until(world.are_up, 60):
            yield "a process does not come up again"
        yield from self._stage.settle(world)


def _settings() -> Settings:
    named = settings().items()
    return Settings(**{name.removeprefix("LABKIT_").lower(): value for name, value in named})


def finish(script: Iterator[None]) -> ExpectedStates:
    """Run the rest of a script, and return the states that it expects."""
    try:
        next(script)
    except StopIteration as end:
        return end.value
    raise AssertionError("a script yields once")


def _breaches(reader: TwinReader, expected: ExpectedStates) -> Iterator[str]:
    """Describe each order that does not end as the scenario expects."""
    rows = {row["address"]: row for row in reader.table("trade_order")}
    for order, states in expected.items():
        row = rows.get(order.mark)
        state = row and (row["order_status"], row["pay_status"])
        if state not in states:
            yield f"order {order.order_id} ends as {state}, not as {sorted(states, key=str)}"
