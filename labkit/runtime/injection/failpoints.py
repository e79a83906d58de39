"""Failpoints: every boundary that the runtime crosses has a name, and can be made to fail there.

Business code crosses boundaries only through the runtime, so the list (`catalogue`) is complete by
construction: the runtime refuses to cross a boundary that is not in it. The idea is FreeBSD's
fail(9) and PingCAP's failpoint; arming from outside through a file is ours, so that it survives a
crash of the process that it kills.

While nothing is armed, a crossing costs one comparison and one array increment (`passes`). Code
that every order runs asks `passes` first, and crosses by the other verbs only where it says no.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from labkit.runtime.injection.boundaries import Failpoint
from labkit.runtime.injection.counters import Counters
from labkit.runtime.injection.fault_file import FaultFile
from labkit.runtime.injection.standing import StandingFaults

log = logging.getLogger(__name__)


class Refused(Exception):
    """The refusal of a crossing, by a failpoint that was armed with `refuse`."""


class Armed(TypedDict):
    """The arming of one failpoint.

    Attributes:
        action: what it does, as `delay:2.5`.
        times: how many crossings it acts on still.
        after: how many crossings go by before that.
    """

    action: str
    times: int
    after: int


class Action(NamedTuple):
    """The action that an armed failpoint asks of the code that crosses it.

    Attributes:
        verb: what it was armed with; empty if it was not armed.
        seconds: how late.
    """

    verb: str = ""
    seconds: float = 0.0

    @property
    def twice(self) -> bool:
        """Return True if the crossing code must do twice what it is about to do."""
        return self.verb == "duplicate"

    @property
    def lost(self) -> bool:
        """Return True if the crossing code must leave out what it is about to do, and go on."""
        return self.verb == "lose"


#: What a failpoint that is not armed asks for.
NOTHING = Action()


class FailpointStore:
    """The failpoints armed in a home, as the tools outside and the services see them.

    Args:
        folder: the home's folder of faults.
    """

    def __init__(self, folder: Path) -> None:
        self._file = _file_in(folder)

    def arm(self, name: str, action: str, times: int = 1, after: int = 0) -> None:
        """Make crossings of a failpoint do `action` (`delay:2.5` for seconds).

        Args:
            name: of the failpoint; what it was armed with before is forgotten.
            action: what its crossings do.
            times: how many do it.
            after: how many go by before those.
        """
        self.arm_all({name: [Armed(action=action, times=times, after=after)]})

    def arm_all(self, armings: Mapping[str, Sequence[Armed]]) -> None:
        """Arm failpoints, each with one or several actions, in one change."""
        with self._file.edit() as armed:
            armed.update({name: list(actions) for name, actions in armings.items()})

    def clear(self, name: str | None = None) -> None:
        """Disarm one failpoint, or all."""
        if name is None:
            self._file.clear()
            return
        with self._file.edit() as armed:
            armed.pop(name, None)

    def keep(self, services: Collection[str]) -> None:
        """Disarm all failpoints except those of some services."""
        with self._file.edit() as armed:
            for name in [name for name in armed if name.partition(".")[0] not in services]:
                del armed[name]

    def armed(self) -> dict[str, list[Armed]]:
        """Return the armed failpoints by name, each with what it does, the next first."""
        by_turn = itemgetter("after")
        return {name: sorted(armings, key=by_turn) for name, armings in self._file.read().items()}

    def take(self, name: str) -> str | None:
        """Use up one armed crossing, on disk *before* it acts, so that a crash happens once.

        Returns:
            What it was armed with. None if this crossing does nothing, and if that could not be
            written, as on a full disk: it stays armed, and does not act.
        """
        try:
            return self._take(name)
        except OSError as error:
            log.warning("the failpoint %s stays armed and does not act: %s", name, error)
            return None

    def _take(self, name: str) -> str | None:
        with self._file.edit() as armed:
            armings = armed.pop(name, [])
            acting = next((arming for arming in armings if not arming["after"]), None)
            for arming in armings:
                arming["after"] = max(arming["after"] - 1, 0)
            if acting:
                acting["times"] -= 1
            if left := [arming for arming in armings if arming["times"]]:
                armed[name] = left
        return acting and acting["action"]


class Failpoints:
    """The failpoints of one service process.

    Args:
        folder: the home's folder of faults.
        process: name of the process, for its own file of hits.
        catalogue: every failpoint that the process can cross.

    Attributes:
        process: name of the process.
        standing: the standing faults of the home.
    """

    def __init__(self, folder: Path, process: str, catalogue: Iterable[Failpoint]) -> None:
        self.process = process
        self.standing = StandingFaults(folder)
        self._index = {point.name: number for number, point in enumerate(catalogue)}
        self._hits = hits_of(folder, process, len(self._index))
        self._store = FailpointStore(folder)
        self._armed = _file_in(folder).watch()
        self._turn = self._armed.turns.numbers
        self._quiet_turn = -1

    @property
    def quiet(self) -> bool:
        """Return True if no failpoint of the home is armed, as far as this process has looked."""
        return self._turn[0] == self._quiet_turn

    def passes(self, name: str) -> bool:
        """Cross a boundary if no failpoint of the home is armed.

        Returns:
            True if it is crossed, and counted. False if the caller must cross it by another verb.

        Raises:
            KeyError: the boundary is not in the catalogue: a defect of the runtime.
        """
        if self._turn[0] != self._quiet_turn:  # `quiet`, without the cost of a method
            return False
        self._hits.numbers[self._index[name]] += 1
        return True

    def count(self, name: str) -> None:
        """Note that a boundary is crossed at which nothing may act now.

        Raises:
            KeyError: the boundary is not in the catalogue: a defect of the runtime.
        """
        self._hits.add(self._index[name])

    def is_armed(self, name: str) -> bool:
        """Return True if something would happen at a crossing."""
        turn = self._turn[0]  # before the rest: another thread may read what was armed since
        armed = self._armed.current()
        self._quiet_turn = -1 if armed else turn
        return name in armed

    def act(self, name: str) -> Action:
        """Cross a boundary: count it, and do what it is armed with; a delay is the caller's.

        Raises:
            Refused: the failpoint is armed with `refuse`.
        """
        self.count(name)
        if not self.is_armed(name):
            return NOTHING
        verb, _, seconds = (self._store.take(name) or "").partition(":")
        if verb == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if verb == "refuse":
            raise Refused(f"the failpoint {name} refused")
        return Action(verb, float(seconds or 0))

    def cross(self, name: str) -> bool:
        """Cross a boundary from a thread, which a delay holds up.

        Returns:
            Whether the caller must do twice what it is about to do.

        Raises:
            Refused: the failpoint is armed with `refuse`.
        """
        action = self.act(name)
        if action.seconds:
            time.sleep(action.seconds)
        return action.twice

    async def act_async(self, name: str) -> Action:
        """Do the same as `act` from a coroutine, and return after the delay."""
        action = self.act(name)
        if action.seconds:
            await asyncio.sleep(action.seconds)
        return action

    async def cross_async(self, name: str) -> bool:
        """Do the same as `cross` from a coroutine: a delay holds up nothing but the caller."""
        return (await self.act_async(name)).twice


def hits_of(folder: Path, process: str, size: int) -> Counters:
    """Open the file that counts how often a process crossed each of its failpoints."""
    return Counters(folder / f"{process}.hits", size)


def _file_in(folder: Path) -> FaultFile[dict[str, list[Armed]]]:
    return FaultFile(
        folder / "armed.json",
        folder / "lock",
        folder / "turn",
        load=_load,
        dump=lambda armed: {name: [*map(dict, armings)] for name, armings in armed.items()},
        durable=True,
    )


def _load(armed: Any) -> dict[str, list[Armed]]:
    return {
        name: [
            Armed(
                action=str(arming["action"]),
                times=int(arming["times"]),
                after=int(arming["after"]),
            )
            for arming in armings
        ]
        for name, armings in (armed or {}).items()
    }
