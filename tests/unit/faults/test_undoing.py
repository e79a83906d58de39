"""A standing fault is undone by whoever finds that its maker is gone."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from labkit.faults import Faults, NotReached, list_standing, mend, points
from labkit.faults.undo_actions import bring_back, resume
from labkit.faults.undo_notes import undo_note
from labkit.home import Home
from labkit.runtime.injection.standing import FaultBook, FaultKind, StandingFault, StandingFaults
from labkit.stack.setup import hide
from labkit.stack.supervisor import spawn
from labkit.waiting import wait_until

_BREAKS = """
import sys
from labkit.faults import Faults
from labkit.home import Home
with Faults(Home(sys.argv[1])).slow("goods", 1.0):
    print("broken", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").make()


def notes(home: Home) -> list[Path]:
    return list((home.folder / "standing").glob("*.json"))


def test_a_rule_of_a_killed_tool_is_taken_up(home: Home) -> None:
    """While the tool lives its rule stands, whoever looks; killed with -9, it goes at a look."""
    tool = subprocess.Popen(
        [sys.executable, "-c", _BREAKS, str(home.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert tool.stdout
    assert tool.stdout.readline() == "broken\n"
    assert mend(home) == []
    assert len(FaultBook(home.faults).standing()) == 1
    tool.kill()
    tool.communicate()
    assert len(mend(home)) == 1
    assert FaultBook(home.faults).standing() == []
    assert mend(home) == []


def test_what_ends_by_itself_leaves_no_note(home: Home) -> None:
    """A block that ends, or fails, has undone its fault and forgotten it."""
    aside_of = home.databases / "goods.sqlite"
    aside_of.touch()
    with suppress(KeyError), undo_note(home, bring_back, path=str(aside_of)):
        hide.put_away(aside_of)
        assert len(notes(home)) == 1
        raise KeyError
    assert aside_of.exists()
    assert notes(home) == []


def test_clearing_ends_what_somebody_still_wants(home: Home) -> None:
    """All of it is undone, and undone again by its maker, which does no harm."""
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with undo_note(home, resume, processes=[(sleeper.pid, spawn.birth(sleeper.pid))]):
        os.kill(sleeper.pid, signal.SIGSTOP)
        assert len(mend(home, everything=True)) == 1
    sleeper.communicate(b"\n")
    assert sleeper.returncode == 0


def test_what_stands_broken_is_listed(home: Home) -> None:
    """Each fault once, as a person calls it, with who holds it; and what is armed."""
    faults = Faults(home)
    with faults.slow("goods", 1.0) as slow, faults.cut("order", "goods", how="refused") as cut:
        points.arm(home, "goods.deduct_stock.before_commit", "crash", 2)
        assert list_standing(home) == [
            {"fault": "slow goods 1.0", "held by": os.getpid()},
            {"fault": "cut order goods refused", "held by": os.getpid()},
            {"fault": "armed goods.deduct_stock.before_commit crash 2", "held by": None},
        ]
        for rule in FaultBook(home.faults).standing():
            StandingFaults(home.faults).hit(rule)
    assert (slow.times, cut.times) == (1, 2)
    points.disarm(home)
    assert list_standing(home) == []


def test_clearing_lets_others_write_to_a_locked_database(home: Home) -> None:
    """Only the process that holds an SQLite file can let it go: it does, when its note goes."""
    file = home.databases / "goods.sqlite"
    sqlite3.connect(file).execute("CREATE TABLE goods (number INTEGER)")
    with pytest.raises(NotReached), Faults(home).database_locked("goods"):  # noqa: PT012
        assert not can_write(file)
        assert [row["fault"] for row in list_standing(home)] == ["database_locked goods"]
        assert mend(home, everything=True) == ["database_locked goods"]
        wait_until(lambda: can_write(file), "the file can be written to")
    assert notes(home) == []


def can_write(file: Path) -> bool:
    connection = sqlite3.connect(file, timeout=0)
    try:
        connection.execute("INSERT INTO goods VALUES (1)")
    except sqlite3.OperationalError:
        return False
    else:
        return True
    finally:
        connection.close()


def test_a_broken_note_is_said_and_stays(home: Home) -> None:
    """Nobody knows what it was of, and it keeps no other from being undone."""
    (home.folder / "standing").mkdir()
    note = home.folder / "standing" / "1.json"
    for text in ("", "{", "[]", "{}"):
        note.write_text(text)
        assert mend(home) == [f"{note}: not mended (the note is broken: remove it)"]
        assert list_standing(home) == []


def test_a_stopped_process_of_another_birth_is_left_alone(home: Home) -> None:
    """A pid that was given again is not ours to wake."""
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    os.kill(sleeper.pid, signal.SIGSTOP)
    still = lambda: Path(f"/proc/{sleeper.pid}/stat").read_text().split()[2] == "T"  # noqa: E731
    if sys.platform == "linux":
        wait_until(still, "it stands still")
    resume(home, [(sleeper.pid, "of another time")])
    if sys.platform == "linux":
        assert still()
    sleeper.kill()
    sleeper.communicate()


def test_what_cannot_be_undone_is_said_and_keeps_no_other(home: Home) -> None:
    """One note is of a fault that is not known; the others are undone all the same."""
    rule = FaultBook(home.faults).add(StandingFault(FaultKind.SLOW, "goods", 1.0))
    folder = home.folder / "standing"
    folder.mkdir()
    for number, undo in enumerate(
        (
            {"undo": "remove_standing", "arguments": {"numbers": [rule.number]}},
            {"undo": "fly", "arguments": {}},
        )
    ):
        (folder / f"{number}.json").write_text(json.dumps(undo))
    lines = mend(home)
    assert [("not mended" in line) for line in lines] == [True, False]
    assert FaultBook(home.faults).standing() == []
