"""The faults of one replay: armed before its lab starts, and watched until all have happened."""

import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from labkit.home import Home
from labkit.runtime.injection.failpoints import Armed, FailpointStore
from labkit.runtime.injection.standing import FaultBook, FaultKind, StandingFault
from labkit.sim.forcing import Forcing, Means
from labkit.waiting import poll_until

#: Holds who crosses a failpoint until the power is cut.
_HOLD_S = 3600.0
_LOOK_S = 0.001
_LATE_WORK_S = 2.0


class ForcedFaults:
    """The faults that a lab is made to have, each at its crossing.

    Args:
        home: of the lab, which is not up yet.
        forced: what is to happen.
        pace: by how much a delay is longer than in the twin.
    """

    def __init__(self, home: Home, forced: Sequence[Forcing], pace: float) -> None:
        self._home = home
        self._forced = forced
        self._pace = pace
        self._store = FailpointStore(home.faults)
        self._book = FaultBook(home.faults)
        self._at_failpoints = _by_failpoint(forced)
        self._clocks: dict[Forcing, StandingFault] = {}
        self._wrong: set[StandingFault] = set()
        self._first_pids: dict[str, int] = {}
        self._happened: set[Forcing] = set()
        self._late_until = 0.0

    @property
    def pauses(self) -> dict[tuple[str, int], float]:
        """Return how long customers pause: kind and number of a request → seconds before it."""
        return {
            (forcing.target, forcing.crossing): forcing.seconds * self._pace
            for forcing in self._forced
            if forcing.means is Means.PAUSE
        }

    def arm(self) -> None:
        """Arm the failpoints, and set clocks wrong."""
        armings = {
            name: [self._arming(forcing) for forcing in forced]
            for name, forced in self._at_failpoints.items()
        }
        self._store.arm_all(armings)
        for forcing in self._forced:
            if forcing.means is Means.CLOCK:
                fault = StandingFault(FaultKind.CLOCK_STEPPED, forcing.target, forcing.seconds)
                self._clocks[forcing] = self._book.add(fault)
        self._wrong = set(self._clocks.values())

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch for a block what happens, and cut the power where that is to happen."""
        is_over = threading.Event()

        def watch() -> None:
            while not is_over.wait(_LOOK_S):
                self._look()

        with ThreadPoolExecutor(1) as pool:
            watching = pool.submit(watch)
            try:
                yield
            finally:
                is_over.set()
            watching.result()  # raises what ended it

    def wait_until_over(self) -> None:
        """Wait until what was delayed has happened."""
        while (late_s := self._late_until - time.monotonic()) > 0:
            time.sleep(late_s)

    def wait_until_reached(self) -> None:
        """Wait until every armed failpoint was crossed, but not long: perhaps nothing does."""
        number = sum(map(len, self._at_failpoints.values()))
        poll_until(lambda: len(self._happened) == number, _LATE_WORK_S)

    def reached(self, paused: Collection[tuple[str, int]]) -> set[Forcing]:
        """Return what happened.

        Args:
            paused: the requests before which a customer has waited.
        """
        waits = {
            forcing
            for forcing in self._forced
            if forcing.means is Means.PAUSE and (forcing.target, forcing.crossing) in paused
        }
        clocks = {forcing for forcing, fault in self._clocks.items() if self._book.hits(fault)}
        return self._happened | waits | clocks

    def _arming(self, forcing: Forcing) -> Armed:
        verb, _, timed = forcing.action.partition(":")
        action = f"{verb}:{forcing.seconds * self._pace:g}" if timed else verb
        if forcing.means is Means.POWER_CUT:
            action = f"delay:{_HOLD_S:g}"
        return Armed(action=action, times=1, after=forcing.crossing - 1)

    def _look(self) -> None:
        armed = self._store.armed()
        for name, forced in self._at_failpoints.items():
            for forcing in forced[: len(forced) - len(armed.get(name, ()))]:
                if forcing not in self._happened:
                    self._note(forcing)
        if self._wrong:
            self._set_right_the_clocks_of_successors()

    def _note(self, forcing: Forcing) -> None:
        if forcing.means is Means.POWER_CUT:
            self._cut_power()
        late = time.monotonic() + forcing.seconds * self._pace
        self._late_until = max(self._late_until, late)
        self._happened.add(forcing)

    def _cut_power(self) -> None:
        """Kill all processes but the broker and the supervisor, which starts them again."""
        for process in self._home.state().get("services", []):
            if process["pid"] and process["name"] != "broker":
                with suppress(ProcessLookupError):
                    os.kill(process["pid"], signal.SIGKILL)

    def _set_right_the_clocks_of_successors(self) -> None:
        """Let the process that takes the place of one with a wrong clock have a right one."""
        pids = {
            f"{process['name']}-{process['instance']}": process["pid"]
            for process in self._home.state().get("services", [])
        }
        for fault in self._wrong.copy():
            pid = pids.get(fault.target)
            first = self._first_pids.setdefault(fault.target, pid) if pid else None
            if pid != first:
                self._book.remove(fault)
                self._wrong.remove(fault)


def _by_failpoint(forced: Iterable[Forcing]) -> dict[str, list[Forcing]]:
    """Return what happens at each failpoint, in the order of its crossings."""
    crossings: defaultdict[str, list[Forcing]] = defaultdict(list)
    for forcing in sorted(forced, key=lambda forcing: forcing.crossing):
        if forcing.means in (Means.FAILPOINT, Means.POWER_CUT):
            crossings[forcing.target].append(forcing)
    return dict(crossings)
