"""Sweeping: a step is run for many commands, and one that fails holds up no other."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from labkit.runtime.db.errors import is_away
from labkit.runtime.steps import Step

log = logging.getLogger(__name__)
C = TypeVar("C")


async def run_each(
    run: Callable[[Step[C, object], C], Awaitable[object]],
    step: Step[C, object],
    commands: Sequence[C],
) -> None:
    """Run a step for each command, all at once; one that raises is left for the next sweep.

    Args:
        run: runs a step and commits it.
        step: the step.
        commands: the commands that it is run with.

    Raises:
        DBAPIError: the database is away, so that none can be run.
    """
    outcomes = await asyncio.gather(
        *(run(step, command) for command in commands), return_exceptions=True
    )
    for command, outcome in zip(commands, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            if is_away(outcome) or not isinstance(outcome, Exception):
                raise outcome
            log.warning("%s is run again later for %s: %s", step.name, command, outcome)
