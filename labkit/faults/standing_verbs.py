"""Faults that stand for a block: every process looks them up, and they are removed after it."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from labkit.faults import undo_actions
from labkit.faults.lab_verbs import LabVerbs
from labkit.faults.undo_notes import undo_note
from labkit.payment_platform.wiring import PLATFORM
from labkit.runtime.injection.standing import FaultBook, StandingFault
from labkit.runtime.messaging.inbox import DeadLetter
from labkit.shop.wiring import GROUPS, SERVICES

#: Services of the shop with a database; of these there can be several instances.
WITH_INSTANCES = tuple(name for name, service in SERVICES.items() if service.contract)
#: Services with steps and stored deadlines.
WITH_STEPS = (*WITH_INSTANCES, PLATFORM.name)
#: Services that call others, or are called.
SERVING = (*SERVICES, PLATFORM.name)
TOPICS = tuple(topic for topic in GROUPS if topic != DeadLetter.topic)
_MAX_S = 3600.0


class StandingVerbs(LabVerbs):
    """The faults of one lab that are written into its fault book."""

    @contextmanager
    def _standing(self, *faults: StandingFault) -> Iterator[Callable[[], int]]:
        """Let faults stand for a block; yield a counter of how often they were hit."""
        book = FaultBook(self._home.faults)
        numbered = [replace(fault, number=secrets.token_hex(4)) for fault in faults]
        numbers = [fault.number for fault in numbered]
        with undo_note(self._home, undo_actions.remove_standing, numbers=numbers):
            standing = [book.add(fault) for fault in numbered]
            yield lambda: sum(book.hits(fault) for fault in standing)


def one_of(name: str, names: tuple[str, ...], what: str) -> str:
    """Return a name that must be among others.

    Raises:
        ValueError: it is not; says which there are.
    """
    if name not in names:
        raise ValueError(f"{name}: no {what} of that name; there are {', '.join(names)}")
    return name


def seconds_of(seconds: float, least: float = 0.0) -> float:
    """Return the seconds of a fault, which must be in a range.

    Raises:
        ValueError: they are too many, or too few.
    """
    if not least <= seconds <= _MAX_S:
        raise ValueError(f"seconds are {least:g} to {_MAX_S:g}, not {seconds:g}")
    return seconds
