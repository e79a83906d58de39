"""Failpoints: every boundary that the runtime crosses has a name, and can be made to fail there.

Business code crosses boundaries only through the runtime, so the list (`catalogue`) is complete by
construction: the runtime refuses to cross a boundary that is not in it. The idea is FreeBSD's
fail(9) and PingCAP's failpoint; arming from outside through a file is ours, so that it survives a
crash of the process that it kills.

A crossing that nobody armed costs one array increment and one comparison.
"""

import asyncio
import json
import logging
import os
import signal
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from labkit.files import making_sense_of
from labkit.home import locked, write_whole
from labkit.runtime.injection.counters import Counters
from labkit.runtime.injection.standing import Rules

log = logging.getLogger(__name__)

#: boundary → what can be made to happen there. A `delay:SECONDS` undoes a step and runs it later, a
#: `stall:SECONDS` holds its transaction open, with all that it has read and locked.
BOUNDARIES = {
    "before_commit": ("crash", "refuse", "delay", "stall"),
    "after_commit": ("crash", "delay", "duplicate"),
    "before_call": ("crash", "refuse", "delay", "duplicate"),
    "after_call": ("crash", "refuse", "delay"),
    "before_send": ("crash", "refuse", "delay", "duplicate"),
    "after_ack": ("crash", "delay"),
    "before_offset_commit": ("crash", "refuse", "delay"),
    "after_offset_commit": ("crash", "delay"),
    "before_notify": (
        "crash",
        "refuse",
        "delay",
        "duplicate",
        "reorder",
        "alter",
        "wrong_amount",
        "forge",
    ),
    "after_notify": ("crash", "delay"),
    "before_answer": ("crash", "delay", "early"),
    "before_rename": ("crash", "delay"),
    "after_rename": ("crash", "delay"),
    "before_fork": ("crash", "refuse", "delay"),
    "after_fork": ("crash", "delay"),
    "after_record": ("crash", "delay"),
    "before_stop": ("crash", "delay"),
    "after_stop": ("crash", "delay"),
    "before_fill": ("crash", "delay"),
    "after_fill": ("crash", "delay"),
    "before_work": ("crash", "refuse", "delay"),
    "after_work": ("crash", "delay"),
}

#: what is crossed → the boundaries around it.
KINDS = {
    "commit": ("before_commit", "after_commit"),
    "call": ("before_call", "after_call"),
    "send": ("before_send", "after_ack"),
    "offset": ("before_offset_commit", "after_offset_commit"),
    "notify": ("before_notify", "after_notify"),
    "answer": ("before_answer",),
    "rename": ("before_rename", "after_rename"),
    "fork": ("before_fork", "after_fork", "after_record"),
    "stop": ("before_stop", "after_stop"),
    "fill": ("before_fill", "after_fill"),
    "work": ("before_work", "after_work"),
}


#: The actions that say how long, as `delay:2.5`.
TIMED = ("delay", "stall")


class Refused(Exception):
    """An armed failpoint refused the crossing."""


@dataclass(frozen=True)
class Failpoint:
    """A place where a process can be made to fail: `service.step.boundary`."""

    service: str
    step: str
    boundary: str

    @property
    def name(self) -> str:
        """The name that the command line and the lab use."""
        return f"{self.service}.{self.step}.{self.boundary}"

    @property
    def actions(self) -> tuple[str, ...]:
        """What the failpoint can be armed with."""
        return BOUNDARIES[self.boundary]


class Action(NamedTuple):
    """What an armed failpoint asks of the one who crosses it.

    Attributes:
        verb: what it was armed with; empty where it was not.
        seconds: how late.
    """

    verb: str = ""
    seconds: float = 0.0

    @property
    def twice(self) -> bool:
        """Whether what is being done shall be done twice."""
        return self.verb == "duplicate"


_NOTHING = Action()


class FailpointStore:
    """The faults armed in a home, as the tools outside and the services see them.

    Args:
        folder: the home's folder of faults.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "armed.json"
        self._lock = folder / "lock"
        self._folder = folder

    @cached_property
    def turn(self) -> Counters:
        """Moves on whenever something is armed or disarmed; who only looks needs none."""
        return Counters(self._folder / "turn", 1)

    def arm(self, name: str, action: str, times: int = 1) -> None:
        """Make the next `times` crossings of a failpoint do `action` (`delay:2.5` for seconds)."""
        with locked(self._lock):
            armed = self.armed()
            armed[name] = {"action": action, "times": times}
            self._write(armed)

    def clear(self, name: str | None = None) -> None:
        """Disarm one failpoint, or all."""
        with locked(self._lock):
            armed = {} if name is None else self.armed()
            armed.pop(name or "", None)
            self._write(armed)

    def keep(self, services: Collection[str]) -> None:
        """Disarm all failpoints but those of some services."""
        with locked(self._lock):
            armed = self.armed()
            self._write(
                {name: fault for name, fault in armed.items() if name.partition(".")[0] in services}
            )

    def armed(self) -> dict[str, dict[str, str | int]]:
        """What is armed: name → action and how many times still."""
        try:
            with making_sense_of(self._file):
                armed = json.loads(self._file.read_text())
                return {
                    name: {"action": str(fault["action"]), "times": int(fault["times"])}
                    for name, fault in armed.items()
                }
        except FileNotFoundError:
            return {}

    def take(self, name: str) -> str | None:
        """Use up one armed crossing, on disk *before* it acts, so that a crash happens once.

        Returns:
            What it was armed with. None where it was not, and where that could not be written, as
            on a full disk: it stays armed, and does not act.
        """
        try:
            return self._take(name)
        except OSError as error:
            log.warning("the failpoint %s stays armed and does not act: %s", name, error)
            return None

    def _take(self, name: str) -> str | None:
        with locked(self._lock):
            armed = self.armed()
            fault = armed.get(name)
            if fault is None:
                return None
            fault["times"] = int(fault["times"]) - 1
            if not fault["times"]:
                del armed[name]
            self._write(armed)
            return str(fault["action"])

    def _write(self, armed: dict[str, dict[str, str | int]]) -> None:
        if armed:
            write_whole(self._file, json.dumps(armed), durable=True)
        else:  # on a full disk too; a rename would be no more durable
            self._file.unlink(missing_ok=True)
        self.turn.add(0)


class Failpoints:
    """The failpoints of one service process.

    Args:
        folder: the home's folder of faults.
        process: name of the process, for its own file of hits.
        catalogue: every failpoint that the process can cross.

    Attributes:
        process: its name.
        rules: what else may be wrong with it, for as long as it lasts.
    """

    def __init__(self, folder: Path, process: str, catalogue: Iterable[Failpoint]) -> None:
        self.process = process
        self.rules = Rules(folder)
        self._index = {point.name: at for at, point in enumerate(catalogue)}
        self._hits = hits_of(folder, process, len(self._index))
        self._armoury = FailpointStore(folder)
        self._turns = self._armoury.turn
        self._turn = -1
        self._armed: frozenset[str] = frozenset()

    def count(self, name: str) -> None:
        """Note that a boundary is crossed, on which nothing may act now.

        Raises:
            KeyError: the boundary is not in the catalogue: a defect of the runtime.
        """
        self._hits.add(self._index[name])

    def is_armed(self, name: str) -> bool:
        """Whether something would happen at a crossing."""
        if self._turns.read(0) != self._turn:
            self._turn = self._turns.read(0)
            self._armed = frozenset(self._armoury.armed())
        return name in self._armed

    def act(self, name: str) -> "Action":
        """Cross a boundary: count it, and do what it is armed with; a delay is the caller's.

        Raises:
            Refused: the failpoint is armed with `refuse`.
        """
        self.count(name)
        if not self.is_armed(name):
            return _NOTHING
        verb, _, seconds = (self._armoury.take(name) or "").partition(":")
        if verb == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if verb == "refuse":
            raise Refused(f"the failpoint {name} refused")
        return Action(verb, float(seconds or 0))

    def cross(self, name: str) -> bool:
        """Cross a boundary from a thread, which a delay holds up.

        Returns:
            Whether what is about to be done shall be done twice.

        Raises:
            Refused: the failpoint is armed with `refuse`.
        """
        action = self.act(name)
        if action.seconds:
            time.sleep(action.seconds)
        return action.twice

    async def act_async(self, name: str) -> "Action":
        """The same as `act` from a coroutine: a delay is over when this returns."""
        action = self.act(name)
        if action.seconds:
            await asyncio.sleep(action.seconds)
        return action

    async def cross_async(self, name: str) -> bool:
        """The same as `cross` from a coroutine: a delay holds up nothing but the caller."""
        return (await self.act_async(name)).twice


def hits_of(folder: Path, process: str, size: int) -> Counters:
    """The file that counts how often a process crossed each of its failpoints."""
    return Counters(folder / f"{process}.hits", size)
