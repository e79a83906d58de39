"""Rules: who looks sees them at once, everyone who meets one is counted, and none stays behind."""

import subprocess
import sys
from pathlib import Path

import pytest

from labkit.runtime.injection.standing import FaultBook, Rule, Rules

SLOW = Rule("slow", "goods", 0.5)
_MEET = """
import sys
from pathlib import Path
from labkit.runtime.injection.standing import Rules
rules = Rules(Path(sys.argv[1]))
for _ in range(1000):
    for rule in rules.of("slow", "goods"):
        rules.meet(rule)
"""


def test_who_looks_sees_what_stands(tmp_path: Path) -> None:
    """A rule is seen by who had looked before it was laid down, and no more once taken up."""
    rules, book = Rules(tmp_path), FaultBook(tmp_path)
    assert list(rules.of("slow", "goods")) == []
    laid = book.lay(SLOW)
    assert list(rules.of("slow", "goods")) == [laid]
    assert rules.stands(laid)
    for kind, about in (("slow", "user"), ("late", "goods")):
        assert list(rules.of(kind, about)) == []
    book.take_up(laid)
    assert list(rules.of("slow", "goods")) == []
    assert not rules.stands(laid)


def test_two_of_a_kind_are_kept_apart(tmp_path: Path) -> None:
    """The same rule twice is two rules; taking up one leaves the other, and its count."""
    rules, book = Rules(tmp_path), FaultBook(tmp_path)
    outer, inner = book.lay(SLOW), book.lay(SLOW)
    rules.meet(outer, 3)
    rules.meet(inner)
    book.take_up(inner)
    assert list(rules.of("slow", "goods")) == [outer]
    assert (book.met(outer), book.met(inner)) == (3, 1)


def test_all_are_taken_up_at_once(tmp_path: Path) -> None:
    """What a tool that was killed left behind goes with everything."""
    book = FaultBook(tmp_path)
    book.lay(SLOW)
    book.lay(Rule("late", "paid", 1))
    book.take_up()
    assert book.standing() == []


def test_every_process_that_meets_it_is_counted(tmp_path: Path) -> None:
    """Three processes at once meet it a thousand times each: it was met three thousand times."""
    book = FaultBook(tmp_path)
    laid = book.lay(SLOW)
    assert book.met(laid) == 0
    command = [sys.executable, "-c", _MEET, str(tmp_path)]
    running = [subprocess.Popen(command) for _ in range(3)]
    assert [one.wait(timeout=60) for one in running] == [0, 0, 0]
    assert book.met(laid) == 3000


def test_a_rule_is_met_by_none_or_more(tmp_path: Path) -> None:
    """To meet it zero times leaves it unmet."""
    rules, laid = Rules(tmp_path), FaultBook(tmp_path).lay(SLOW)
    rules.meet(laid, 0)
    assert FaultBook(tmp_path).met(laid) == 0


@pytest.mark.parametrize("times", [1, 10])
def test_the_count_outlives_the_rule(tmp_path: Path, times: int) -> None:
    """A verb says how often it was met after it is mended."""
    book, rules = FaultBook(tmp_path), Rules(tmp_path)
    laid = book.lay(SLOW)
    rules.meet(laid, times)
    book.take_up(laid)
    assert book.met(laid) == times
