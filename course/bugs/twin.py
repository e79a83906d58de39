"""`python -m course.bugs.twin`: put each bug into the twin, and search until a life breaks."""

import argparse
import importlib
import multiprocessing
import sys
import time
from dataclasses import dataclass

from course.bugs.bug import shelf
from course.bugs.patching import replace
from labkit.sim.life import Life
from labkit.sim.search import begin_worker, hunt_alone

_SECONDS = 20.0


@dataclass(frozen=True)
class Search:
    """The search for one bug.

    Attributes:
        bug: its name.
        lives: how many were lived.
        seconds: how long that took, shrinking included.
        life: the smallest one that broke; None if none did.
        error: what ended the search, in words; empty if nothing did.
    """

    bug: str
    lives: int
    seconds: float
    life: Life | None
    error: str = ""


def search(name: str, seconds: float, lives: int | None = None) -> Search:
    """Put a bug into this process, and search until a life breaks.

    Args:
        name: of the bug.
        seconds: how long, at most.
        lives: how many, at most.
    """
    began = time.monotonic()
    begin_worker()
    importlib.import_module("labkit.shop.wiring")  # contracts keep the types of the true functions
    try:
        for where, new in shelf()[name].patches.items():
            replace(where, new)
        tally = hunt_alone(seconds, lives=lives)
    except Exception as error:  # a bug may break what no process of a lab survives
        return Search(name, 0, time.monotonic() - began, None, f"{type(error).__name__}: {error}")
    life = tally.broken[0] if tally.broken else None
    return Search(name, tally.lives, time.monotonic() - began, life)


def main() -> int:
    """Search for the bugs that are named, or for all, two at once."""
    parser = argparse.ArgumentParser(prog="python -m course.bugs.twin", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a bug; all if not said")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="for each bug, at most")
    parser.add_argument("--lives", type=int, help="for each bug, at most")
    words = parser.parse_args()
    names = words.names or list(shelf())
    began, finds = time.monotonic(), 0
    context = multiprocessing.get_context("fork")
    with context.Pool(2, maxtasksperchild=1) as pool:
        searches = [pool.apply_async(search, (name, words.seconds, words.lives)) for name in names]
        for pending in searches:
            done = pending.get()
            finds += done.life is not None
            _tell(done)
    print(f"\n{len(names)} bugs: {finds} found in {time.monotonic() - began:.0f} s")
    return 0


def _tell(done: Search) -> None:
    verdict = "found" if done.life else "NOT FOUND"
    print(f"{verdict}  {done.bug}  {done.seconds:.1f} s  {done.lives} lives  {done.error}")
    if done.life:
        print(f"    {done.life.breaches[0][:160]}\n    {done.life.plan.token}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
