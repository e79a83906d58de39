"""Standing faults: a process sees them at once, every hit is counted, and none stays behind."""

import subprocess
import sys
from pathlib import Path

import pytest

from labkit.runtime.injection.standing import FaultBook, FaultKind, StandingFault, StandingFaults

SLOW = StandingFault(FaultKind.SLOW, "goods", 0.5)
_MEET = """
import sys
from pathlib import Path
from labkit.runtime.injection.standing import FaultKind, StandingFaults
faults = StandingFaults(Path(sys.argv[1]))
for _ in range(1000):
    for fault in faults.of(FaultKind.SLOW, "goods"):
        faults.hit(fault)
"""


def test_who_looks_sees_what_stands(tmp_path: Path) -> None:
    """A process that had looked before sees a fault once it is added, until it is removed."""
    faults, book = StandingFaults(tmp_path), FaultBook(tmp_path)
    assert list(faults.of(FaultKind.SLOW, "goods")) == []
    fault = book.add(SLOW)
    assert list(faults.of(FaultKind.SLOW, "goods")) == [fault]
    assert faults.is_standing(fault)
    for kind, about in (("slow", "user"), ("late", "goods")):
        assert list(faults.of(kind, about)) == []
    book.remove(fault)
    assert list(faults.of(FaultKind.SLOW, "goods")) == []
    assert not faults.is_standing(fault)


def test_two_of_a_kind_are_kept_apart(tmp_path: Path) -> None:
    """The same fault added twice is two faults; removing one leaves the other, and its count."""
    faults, book = StandingFaults(tmp_path), FaultBook(tmp_path)
    outer, inner = book.add(SLOW), book.add(SLOW)
    faults.hit(outer, 3)
    faults.hit(inner)
    book.remove(inner)
    assert list(faults.of(FaultKind.SLOW, "goods")) == [outer]
    assert (book.hits(outer), book.hits(inner)) == (3, 1)


def test_all_are_taken_up_at_once(tmp_path: Path) -> None:
    """The faults of a tool that was killed go when everything is cleared."""
    book = FaultBook(tmp_path)
    book.add(SLOW)
    book.add(StandingFault(FaultKind.LATE, "paid", 1))
    book.remove()
    assert book.standing() == []


def test_every_process_that_meets_it_is_counted(tmp_path: Path) -> None:
    """Three processes at once meet it a thousand times each: it was met three thousand times."""
    book = FaultBook(tmp_path)
    fault = book.add(SLOW)
    assert book.hits(fault) == 0
    command = [sys.executable, "-c", _MEET, str(tmp_path)]
    running = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(timeout=60) for process in running] == [0, 0, 0]
    assert book.hits(fault) == 3000


def test_a_rule_is_met_by_none_or_more(tmp_path: Path) -> None:
    """To meet it zero times leaves it unmet."""
    faults, fault = StandingFaults(tmp_path), FaultBook(tmp_path).add(SLOW)
    faults.hit(fault, 0)
    assert FaultBook(tmp_path).hits(fault) == 0


@pytest.mark.parametrize("times", [1, 10])
def test_the_count_outlives_the_rule(tmp_path: Path, times: int) -> None:
    """A verb says how often it was met after it is mended."""
    book, faults = FaultBook(tmp_path), StandingFaults(tmp_path)
    fault = book.add(SLOW)
    faults.hit(fault, times)
    book.remove(fault)
    assert book.hits(fault) == times
