"""Filling the databases: all of it, or nothing of it counts; the history goes with the data."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.home import DATABASES, Home
from labkit.runtime.clock import as_time
from labkit.stack.setup import databases
from labkit.stack.setup.seeds import Seeds

NOW = as_time(0)
FEW = Seeds(goods=1, users=1, coupons=0)


class Killed(Exception):
    """The helper is gone at a boundary."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with data, and a history of what clients were answered about it."""
    home = Home(tmp_path / "home").make()
    databases.fill(home, FEW, NOW)
    home.history_file.write_text(json.dumps({"order": 1}))
    return home


def killed_at(boundary: str) -> Callable[[str], None]:
    """Return what ends a helper at a boundary."""

    def cross(name: str) -> None:
        if name == boundary:
            raise Killed

    return cross


def test_a_fill_forgets_the_history(home: Home) -> None:
    """Of the new data no client was answered anything yet."""
    databases.fill(home, FEW, NOW)
    assert home.filled()
    assert home.history_file.read_text() == ""


def test_a_fill_without_a_history(home: Home) -> None:
    """It is not kept everywhere, and nobody makes one."""
    home.history_file.unlink()
    databases.fill(home, FEW, NOW)
    assert home.filled()
    assert not home.history_file.exists()


@pytest.mark.parametrize(
    "boundary", ["helper.seed_database.before_work", "helper.put_aside.before_rename"]
)
def test_a_fill_that_fails_keeps_data_and_history(home: Home, boundary: str) -> None:
    """The old data is there, and so is the history that the next check compares it with."""
    with pytest.raises(Killed):
        databases.fill(home, FEW, NOW, killed_at(boundary))
    assert home.filled()
    assert {file.stem for file in home.databases.glob("*.sqlite")} == set(DATABASES)
    assert json.loads(home.history_file.read_text()) == {"order": 1}


def test_a_fill_that_ends_between_old_and_new_leaves_neither(home: Home) -> None:
    """The next start fills again, and no history of the old data stays beside the new."""
    with pytest.raises(Killed):
        databases.fill(home, FEW, NOW, killed_at("helper.put_aside.after_rename"))
    assert not home.filled()
    assert home.history_file.read_text() == ""
