"""What sweepers are made of: one thing that cannot be done now holds up no other."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from labkit.runtime.engines import is_away
from labkit.runtime.steps import Step

log = logging.getLogger(__name__)


async def run_each(
    run: Callable[[Step[Any, Any], Any], Awaitable[Any]],
    step: Step[Any, Any],
    commands: Sequence[Any],
) -> None:
    """Run a step for each command; one that raises is left for the next sweep.

    Args:
        run: runs a step and commits it.
        step: what is run.
        commands: what it is run with.

    Raises:
        DBAPIError: the database is away, so that none can be run.
    """
    for command in commands:
        try:
            await run(step, command)
        except Exception as error:  # a row that is held, or a defect that concerns this one
            if is_away(error):
                raise
            log.warning("%s is run again later for %s: %s", step.name, command, error)
