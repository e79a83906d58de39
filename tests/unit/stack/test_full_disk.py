"""Nothing dies of a full disk: what cannot be written is told, or lost where it is no data."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.files import is_no_room, write_whole
from labkit.runtime.injection.boundaries import Failpoint
from labkit.runtime.injection.counters import Counters
from labkit.runtime.injection.failpoints import Failpoints, FailpointStore, Refused
from labkit.runtime.injection.standing import FaultBook, FaultKind, StandingFault, StandingFaults
from labkit.runtime.telemetry.span_log import SpanLog
from tests.support.small_disk import fill, on_a_small_disk

POINT = Failpoint("goods", "deduct_stock", "before_commit")
_FULL = Path("/dev/full")  # each write to it fails as on a full disk
needs_a_full_device = pytest.mark.skipif(not _FULL.exists(), reason="only Linux has /dev/full")
_COUNT = """
import sys
from pathlib import Path
from labkit.runtime.injection.counters import Counters
counters = Counters(Path(sys.argv[1]), 1000)
print("made", flush=True)
input()
for at in range(1000):
    counters.add(at)
print(sum(counters.read(at) for at in range(1000)))
"""
_FORK = """
import os, sys
from pathlib import Path
from labkit.stack.supervisor import spawn as children
parent = os.getpid()
def work():
    print("this is too much for the disk")
    if sys.argv[1] == "fails":
        raise RuntimeError("nor is there room for this")
lifeline, ours = os.pipe()
started = children.fork(work, Path("/dev/full"), lifeline)
if os.getpid() != parent:
    os.kill(parent, 9)  # the child came back into its parent's code
started.go_on()
print(os.waitstatus_to_exitcode(os.waitpid(started.pid, 0)[1]))
"""


def test_counters_have_no_hole(tmp_path: Path) -> None:
    """Every byte is written when the file is made: later there may be no room for a page."""
    Counters(tmp_path / "order-1.hits", 5_000)
    with (tmp_path / "order-1.hits").open("rb") as file:
        assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) == 40_000


def test_counters_are_lengthened_and_keep_what_was_counted(tmp_path: Path) -> None:
    """A file that was made for fewer numbers goes on with them."""
    before = Counters(tmp_path / "turn", 1)
    before.add(0)
    after = Counters(tmp_path / "turn", 600)
    after.add(599)
    assert [after.read(0), after.read(599)] == [1, 1]


@on_a_small_disk
def test_counting_on_a_full_disk(disk: Path) -> None:
    """The first count comes when there is no room any more; no signal kills who counts."""
    counting = subprocess.Popen(
        [sys.executable, "-c", _COUNT, str(disk / "order.misses")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert counting.stdout
    assert counting.stdout.readline() == "made\n"
    fill(disk)
    assert counting.communicate("\n")[0] == "1000\n"
    assert counting.returncode == 0


@on_a_small_disk
def test_what_is_replaced_stays_whole_on_a_full_disk(disk: Path) -> None:
    """The old text stands, nothing is left beside it, and the error names file and cause."""
    write_whole(disk / "lab.json", "old")
    filled = fill(disk)
    with pytest.raises(OSError, match=r"No space left on device: .*lab\.json") as raised:
        write_whole(disk / "lab.json", "new" * 5_000)
    assert is_no_room(raised.value)
    assert (disk / "lab.json").read_text() == "old"
    assert sorted(file.name for file in disk.iterdir()) == ["fill", "lab.json"]
    filled.unlink()
    write_whole(disk / "lab.json", "new")
    assert (disk / "lab.json").read_text() == "new"


@on_a_small_disk
def test_a_failpoint_that_cannot_be_used_up_does_not_act(disk: Path) -> None:
    """It would act again after a restart; it stays armed, and acts when there is room."""
    failpoints = Failpoints(disk, "goods-1", [POINT])
    FailpointStore(disk).arm(POINT.name, "refuse", times=2)
    filled = fill(disk)
    assert failpoints.cross(POINT.name) is False
    filled.unlink()
    for _ in range(2):
        with pytest.raises(Refused):
            failpoints.cross(POINT.name)
    assert FailpointStore(disk).armed() == {}


@on_a_small_disk
def test_rules_on_a_full_disk(disk: Path) -> None:
    """A fault acts though nobody can count it, and can be taken up."""
    book, faults = FaultBook(disk), StandingFaults(disk)
    slow = book.add(StandingFault(FaultKind.SLOW, "goods", 0.5))
    filled = fill(disk)
    faults.hit(slow)
    assert faults.is_standing(slow)
    book.remove()
    assert not faults.is_standing(slow)
    filled.unlink()
    faults.hit(slow)
    assert book.hits(slow) == 1


@needs_a_full_device
@pytest.mark.parametrize(("how", "code"), [("ends", "0"), ("fails", "1")])
def test_a_child_whose_log_is_full_ends(how: str, code: str) -> None:
    """It does not come back into its parent's code, which would end all other children."""
    script = [sys.executable, "-E", "-c", _FORK, how]
    ended = subprocess.run(script, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (ended.returncode, ended.stdout) == (0, f"{code}\n"), ended.stderr


def test_a_diary_that_cannot_be_turned_over_writes_into_no_other_file(tmp_path: Path) -> None:
    """The number of a descriptor that was closed is soon another file's, as a database's."""
    traces = tmp_path / "traces"
    log = SpanLog(traces, "goods-1", "{}")
    traces.rename(tmp_path / "elsewhere")
    with log._lock, pytest.raises(FileNotFoundError):
        log._rotate()
    database = tmp_path / "goods.sqlite"
    with database.open("wb"):
        log.write("deduct_stock")
    assert database.read_bytes() == b""
    (tmp_path / "elsewhere").rename(traces)
    log._rotate()
    assert {".jsonl", ".old"} <= {file.suffix for file in traces.iterdir()}
