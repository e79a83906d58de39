"""What stands broken is undone by whoever finds that its maker is gone."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from labkit.faults import mend
from labkit.faults.standing import standing
from labkit.faults.undoing import bring_back, resume
from labkit.home import Home
from labkit.runtime.rules import Rule, Rulebook
from labkit.stack import aside, children
from tests.unit.store import eventually

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
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert tool.stdout
    assert tool.stdout.readline() == "broken\n"
    assert mend(home) == []
    assert len(Rulebook(home.faults).standing()) == 1
    tool.kill()
    tool.communicate()
    assert len(mend(home)) == 1
    assert Rulebook(home.faults).standing() == []
    assert mend(home) == []


def test_what_ends_by_itself_leaves_no_note(home: Home) -> None:
    """A block that ends, or fails, has undone its fault and forgotten it."""
    aside_of = home.databases / "goods.sqlite"
    aside_of.touch()
    with suppress(KeyError), standing(home, bring_back, path=str(aside_of)):
        aside.put_away(aside_of)
        assert len(notes(home)) == 1
        raise KeyError
    assert aside_of.exists()
    assert notes(home) == []


def test_clearing_ends_what_somebody_still_wants(home: Home) -> None:
    """All of it is undone, and undone again by its maker, which does no harm."""
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with standing(home, resume, processes=[(sleeper.pid, children.birth(sleeper.pid))]):
        os.kill(sleeper.pid, signal.SIGSTOP)
        assert len(mend(home, everything=True)) == 1
    sleeper.communicate(b"\n")
    assert sleeper.returncode == 0


def test_a_stopped_process_of_another_birth_is_left_alone(home: Home) -> None:
    """A pid that was given again is not ours to wake."""
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    os.kill(sleeper.pid, signal.SIGSTOP)
    still = lambda: Path(f"/proc/{sleeper.pid}/stat").read_text().split()[2] == "T"  # noqa: E731
    if sys.platform == "linux":
        eventually(still)
    resume(home, [(sleeper.pid, "of another time")])
    if sys.platform == "linux":
        assert still()
    sleeper.kill()
    sleeper.communicate()


def test_what_cannot_be_undone_is_said_and_keeps_no_other(home: Home) -> None:
    """One note is of a fault that is not known; the others are undone all the same."""
    rule = Rulebook(home.faults).lay(Rule("slow", "goods", 1.0))
    folder = home.folder / "standing"
    folder.mkdir()
    for number, undo in enumerate(({"undo": "take_up", "arguments": {"rules": [rule.number]}},
                                   {"undo": "fly", "arguments": {}})):  # fmt: skip
        (folder / f"{number}.json").write_text(json.dumps(undo))
    said = mend(home)
    assert [("not mended" in one) for one in said] == [True, False]
    assert Rulebook(home.faults).standing() == []
