"""A process that runs one group of steps and is killed in the middle of it.

`python -m tests.support.crashing FOLDER GROUP`: says which of them were answered, by their place.
"""

import sys
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from tests.support.asking import submit
from tests.support.grouping import Runner, StepCall, die_once, give_back, mark, take
from tests.support.store import STOCK

#: Independent of each other, so that they may run in any order: a duplicate and a refusal too.
#: What order 9 gives back was taken before.
NEIGHBOURS = [take(1, 2), take(2, 2), give_back(9), take(2, 2), take(4, STOCK + 1)]


def group_of(folder: Path, where: str, at: int) -> list[StepCall]:
    """The neighbours, and at a place among them the one that kills."""
    killing = (die_once, folder) if where == "in_step" else mark(100)
    return [*NEIGHBOURS[:at], killing, *NEIGHBOURS[at:]]


def main(folder: Path, where: str, at: int) -> None:
    """Run the group; it never returns."""

    def say_when_done(place: int, answer: "Future[Any]") -> None:
        answer.add_done_callback(lambda _: print(place, flush=True))

    runner = Runner(folder)
    with runner.held():
        for place, command in enumerate(group_of(folder, where, at)):
            say_when_done(place, submit(runner.database, *command))
    runner.database.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
