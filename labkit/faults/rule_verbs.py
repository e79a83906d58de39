"""Faults that last by a rule: laid down for a block, looked up by every process, taken up after."""

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
WITH_INSTANCES = tuple(name for name, one in SERVICES.items() if one.contract)
#: Who has steps and stored deadlines.
WITH_STEPS = (*WITH_INSTANCES, PLATFORM.name)
#: Everyone who calls, or is called.
SERVING = (*SERVICES, PLATFORM.name)
TOPICS = tuple(topic for topic in GROUPS if topic != DeadLetter.topic)
_LONGEST = 3600.0


class RuleVerbs(LabVerbs):
    """Faults of one lab that rules stand for."""

    @contextmanager
    def _ruled(self, *rules: StandingFault) -> Iterator[Callable[[], int]]:
        """Have rules stand for a block, which is handed how often they were met."""
        book = FaultBook(self._home.faults)
        named = [replace(rule, number=secrets.token_hex(4)) for rule in rules]
        with undo_note(
            self._home, undo_actions.remove_rules, rules=[rule.number for rule in named]
        ):
            laid = [book.add(rule) for rule in named]
            yield lambda: sum(book.hits(rule) for rule in laid)


def one_of(name: str, known: tuple[str, ...], what: str) -> str:
    """A name that must be known.

    Raises:
        ValueError: it is not; says which are.
    """
    if name not in known:
        raise ValueError(f"{name}: no {what} of that name; there are {', '.join(known)}")
    return name


def seconds_of(seconds: float, least: float = 0.0) -> float:
    """Seconds that a fault may be told.

    Raises:
        ValueError: they are too many, or too few.
    """
    if not least <= seconds <= _LONGEST:
        raise ValueError(f"seconds are {least:g} to {_LONGEST:g}, not {seconds:g}")
    return seconds
