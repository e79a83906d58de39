"""`python -m course.bugs.twin`: put each bug into the twin, and search until a life breaks."""

import argparse
import importlib
import multiprocessing
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from course.bugs import page
from course.bugs.bug import shelf
from course.bugs.finding import Search
from course.bugs.patching import replace
from course.bugs.unseen import SELDOM, UNSEEN
from labkit.sim.life import Life
from labkit.sim.plan import read_token
from labkit.sim.search import begin_worker, hunt_alone, replay

_SECONDS = 40.0
_WORKERS = 2
_PATIENCE = 10  # times the seconds of a search, for shrinking what never settles


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
        kept = None if tally.broken else _kept_life(name)
    except Exception as error:  # a bug may break what no process of a lab survives
        return Search(name, 0, time.monotonic() - began, None, f"{type(error).__name__}: {error}")
    life = tally.broken[0] if tally.broken else kept
    seconds = time.monotonic() - began
    return Search(name, tally.lives, seconds, life, is_kept=kept is not None)


def _kept_life(name: str) -> Life | None:
    """Live the life that is kept for a bug which is seldom found; None if it breaks nothing."""
    if name not in SELDOM:
        return None
    life = replay(read_token(SELDOM[name]))
    return life if life.breaches else None


def main() -> int:
    """Search for the bugs that are named, or for all, two at once; 1 where one is not found."""
    words = _words()
    began, searches = time.monotonic(), []
    context = multiprocessing.get_context("fork")
    with context.Pool(_WORKERS, maxtasksperchild=1) as pool:
        waiting = {
            name: pool.apply_async(search, (name, words.seconds, words.lives))
            for name in words.names
        }
        for name, pending in waiting.items():
            try:
                searches.append(pending.get(_PATIENCE * words.seconds))
            except multiprocessing.TimeoutError:
                searches.append(Search(name, 0, 0, None, "its process has died, or never ends"))
            _tell(searches[-1])
    finds, missed = _finds(searches), _missed(searches)
    print(f"\n{len(searches)} bugs: {finds} found in the twin in {time.monotonic() - began:.0f} s")
    if missed:
        print(f"NOT FOUND: {', '.join(missed)}")
    if words.write:
        page.renew_twin(words.write, searches, time.monotonic() - began)
    return int(bool(missed))


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m course.bugs.twin", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a bug; all if not said")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="for each bug, at most")
    parser.add_argument("--lives", type=int, help="for each bug, at most")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="renew the table of a page")
    words = parser.parse_args()
    words.names = words.names or [name for name in shelf() if name not in UNSEEN]
    if unknown := set(words.names) - shelf().keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(shelf())}")
    return words


def _finds(searches: Sequence[Search]) -> int:
    return sum(done.life is not None and not done.is_kept for done in searches)


def _missed(searches: Sequence[Search]) -> list[str]:
    return [done.bug for done in searches if done.life is None and done.bug not in UNSEEN]


def _tell(done: Search) -> None:
    verdict = "kept" if done.is_kept else "found" if done.life else "NOT FOUND"
    print(f"{verdict}  {done.bug}  {done.seconds:.1f} s  {done.lives} lives  {done.error}")
    if done.life:
        print(f"    {done.life.breaches[0][:160]}\n    {done.life.plan.token}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
