"""Rules: what is wrong with a lab for as long as they stand. A failpoint acts so many times.

A tool outside lays a rule down in the home's folder of faults, and takes it up again. Each process
looks before it does what a rule may be about: where none was laid down or taken up since, that is
one comparison in memory that all share. Whoever meets a rule adds a byte to its file, which the
system keeps apart and whole for all processes: so many bytes, so often was it met.
"""

import json
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from labkit.files import making_sense_of
from labkit.home import locked, write_whole
from labkit.runtime.injection.counters import Counters


@dataclass(frozen=True)
class Rule:
    """One fault that lasts.

    Attributes:
        kind: slow, cut, duplicated, reordered, late or clock_stepped.
        about: whom: a service, a process (`goods-1`), a topic, or two services with `>` between.
        amount: seconds, where the kind has any.
        how: of a cut: dropped or refused.
        number: tells it from others of its kind.
    """

    kind: str
    about: str
    amount: float = 0.0
    how: str = ""
    number: str = ""


class FaultBook:
    """The rules of a home, as a tool outside lays them down.

    Args:
        folder: the home's folder of faults.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "rules.json"
        self._lock = folder / "rules.lock"

    @cached_property
    def turn(self) -> Counters:
        """Moves on whenever a rule is laid down or taken up; who only looks needs none."""
        return Counters(self._folder / "rules.turn", 1)

    def lay(self, rule: Rule) -> Rule:
        """Have a rule stand from now on, until it is taken up; returns it with its number."""
        rule = replace(rule, number=rule.number or secrets.token_hex(4))
        with locked(self._lock):
            self._write([*self.standing(), rule])
        return rule

    def take_up(self, *rules: Rule) -> None:
        """Have these stand no more, or all where none is named."""
        with locked(self._lock):
            self._write([one for one in self.standing() if rules and one not in rules])

    def standing(self) -> list[Rule]:
        """The rules that stand."""
        try:
            with making_sense_of(self._file):
                return [Rule(**rule) for rule in json.loads(self._file.read_text())]
        except FileNotFoundError:
            return []

    def met(self, rule: Rule) -> int:
        """How often a rule was met, also after it was taken up."""
        file = _tally(self._folder, rule)
        return file.stat().st_size if file.exists() else 0

    def _write(self, rules: list[Rule]) -> None:
        if rules:
            write_whole(self._file, json.dumps([asdict(rule) for rule in rules]))
        else:  # on a full disk too
            self._file.unlink(missing_ok=True)
        self.turn.add(0)


class Rules:
    """The rules of a home, as a process of the lab looks them up.

    Args:
        folder: the home's folder of faults.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._book = FaultBook(folder)
        self._turns = self._book.turn
        self._turn = -1
        self._found: dict[tuple[str, str], list[Rule]] = {}

    def of(self, kind: str, about: str) -> Sequence[Rule]:
        """The rules of a kind about somebody: nearly always none."""
        if self._turns.read(0) != self._turn:
            self._look()
        return self._found.get((kind, about), ())

    def stands(self, rule: Rule) -> bool:
        """Whether a rule was not taken up meanwhile."""
        return rule in self.of(rule.kind, rule.about)

    def meet(self, rule: Rule, times: int = 1) -> None:
        """Note that a rule was met; what cannot be noted, as on a full disk, is not counted."""
        with suppress(OSError), _tally(self._folder, rule).open("ab", buffering=0) as file:
            file.write(b"." * times)

    def _look(self) -> None:
        turn, found = self._turns.read(0), dict[tuple[str, str], list[Rule]]()
        for rule in self._book.standing():
            found.setdefault((rule.kind, rule.about), []).append(rule)
        self._turn, self._found = turn, found


def _tally(folder: Path, rule: Rule) -> Path:
    return folder / f"{rule.kind}.{rule.number}.met"
