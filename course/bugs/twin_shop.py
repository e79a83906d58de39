"""The twin with a function of a learner's, for notebooks: searched, proven and lived again.

Each question is answered in a process of its own, so that what is put in there is there alone.
"""

import importlib
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from course.bugs.broken_shop import read_fixes
from course.bugs.patching import read_fix, replace
from labkit.ops.trace.diagram import Diagram
from labkit.sim import search
from labkit.sim.life import Life
from labkit.sim.plan import Plan, read_token

T = TypeVar("T")

_ROOT = Path(__file__).parents[2]


class TwinShop:
    """A twin in which some functions are others.

    Args:
        functions: place → code that stands there instead, as in `course.bugs.broken_shop`.
    """

    def __init__(self, functions: Mapping[str, str] | None = None) -> None:
        self._functions = read_fixes(functions or {})

    def prove(self, story: str, depth: int = 1, verbs: Sequence[str] = ()) -> "Answer":
        """Live every life of a story with at most so many deviations.

        Args:
            story: its name.
            depth: how many, at most.
            verbs: what may happen, as `crash`; anything if none is named.
        """
        tally = self._apart(search.prove, Plan((story,)), depth, tuple(verbs))
        return Answer(tally.lives, tally.broken)

    def search(self, stories: Sequence[str], lives: int, seed: int = 0) -> "Answer":
        """Live so many drawn lives at most, until one breaks something.

        Args:
            stories: to draw from.
            lives: how many, at most.
            seed: of the first one.
        """
        tally = self._apart(search.hunt_alone, math.inf, seed, tuple(stories), True, lives)
        return Answer(tally.lives, tally.broken)

    def replay(self, token: str) -> Life:
        """Live the life of a token, and write down who called whom."""
        life: Life = self._apart(replay, token)
        return life

    def _apart(self, work: Callable[..., T], *arguments: object) -> T:
        """Do some work in a new process: a notebook's has threads, and must not be forked."""
        question = pickle.dumps((self._functions, work, arguments))
        command = [sys.executable, "-m", "course.bugs.twin_shop"]
        done = subprocess.run(
            command, cwd=_ROOT, input=question, stdout=subprocess.PIPE, check=True
        )
        answer = pickle.loads(done.stdout)
        if isinstance(answer, Exception):
            raise answer
        result: T = answer
        return result


class Answer:
    """The answer of a search or a proof.

    Attributes:
        lives: how many lives were lived.
        token: of the smallest life that broke something; empty if none did.
        broken: the names of the invariants that it broke.
        breaches: what it broke, in words.
    """

    def __init__(self, lives: int, broken: Sequence[Life]) -> None:
        self.lives = lives
        self.token = broken[0].plan.token if broken else ""
        self.breaches = list(broken[0].breaches if broken else ())
        self.broken = list(dict.fromkeys(breach.partition(":")[0] for breach in self.breaches))

    def __repr__(self) -> str:
        return f"{self.lives} lives, broken: {', '.join(self.broken) or 'nothing'}"


def story_of(life: Life, title: str, first: int, last: int) -> Diagram:
    """Return some lines of a life as a diagram, counted from 1."""
    diagram = life.record.diagram(title)
    lines = diagram.lines[first - 1 : last]
    there = {name for line in lines for name in (line.start, line.end)}
    return Diagram(title, [name for name in diagram.participants if name in there], lines)


def replay(token: str) -> Life:
    """Live the life of a token in this process, and write down who called whom."""
    return search.replay(read_token(token), record=True)


def _answer() -> None:
    """Put the functions in, do the work, and write what it gives."""
    functions, work, arguments = pickle.loads(sys.stdin.buffer.read())
    search.begin_worker()
    importlib.import_module("labkit.shop.wiring")  # contracts keep the types of the true functions
    try:
        for where, code in functions.items():
            replace(where, read_fix(where, code))
        answer = work(*arguments)
    except Exception as error:  # raised again where it was asked for
        answer = error
    sys.stdout.buffer.write(pickle.dumps(answer))
    sys.stdout.flush()
    os._exit(0)  # what is left of the lives is not worth closing


if __name__ == "__main__":
    _answer()
