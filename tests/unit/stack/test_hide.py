"""A file or a folder that is put out of reach comes back whole, whoever was killed meanwhile."""

import sqlite3
from pathlib import Path

import pytest

from labkit.home import Home
from labkit.stack.setup import hide


def database(path: Path) -> Path:
    """One with a row that is committed, and still in its write-ahead log alone."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE things (id INTEGER)")
    connection.execute("INSERT INTO things VALUES (7)")
    return path


def rows(path: Path) -> list[tuple[int]]:
    return sqlite3.connect(path).execute("SELECT id FROM things").fetchall()


def test_nobody_opens_it_and_nobody_makes_another(tmp_path: Path) -> None:
    """Whoever opens the database is told that it cannot be; it comes back with its last row."""
    path = database(tmp_path / "goods.sqlite")
    hide.put_away(path)
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError, match="unable to open database file"):
            rows(path)
    hide.bring_back(path)
    assert rows(path) == [(7,)]
    assert not path.is_symlink()


def test_it_is_the_same_file(tmp_path: Path) -> None:
    """No copy is made: who had it open goes on with the file that comes back."""
    path = database(tmp_path / "goods.sqlite")
    before = path.stat().st_ino
    hide.put_away(path)
    hide.bring_back(path)
    assert path.stat().st_ino == before
    assert path.stat().st_nlink == 1


def test_a_home_is_never_taken_for_empty(tmp_path: Path) -> None:
    """With a database out of reach the home still has all: else a start would fill it anew."""
    home = Home(tmp_path / "home").make()
    for name in ("order", "goods", "coupon", "user", "pay", "log", "platform"):
        database(home.databases / f"{name}.sqlite")
    hide.put_away(home.databases / "goods.sqlite")
    assert home.filled()


def test_the_next_start_puts_all_back(tmp_path: Path) -> None:
    """Whoever put them away was killed: what was there is there again, the folder of leases too."""
    home = Home(tmp_path / "home").make()
    path = database(home.databases / "goods.sqlite")
    (home.registry / "goods.1.json").write_text("{}")
    hide.put_away(path)
    hide.put_away(home.registry)
    home.make()  # as the next start does first
    hide.bring_all_back(home)
    assert rows(path) == [(7,)]
    assert (home.registry / "goods.1.json").read_text() == "{}"


def test_killed_between_two_steps(tmp_path: Path) -> None:
    """The file has its second name already and was not put away: it loses that name alone."""
    path = database(tmp_path / "goods.sqlite")
    path.with_name("goods.sqlite.away").hardlink_to(path)
    hide.bring_back(path)
    assert [file.name for file in tmp_path.glob("*.away")] == []
    assert rows(path) == [(7,)]


def test_only_once(tmp_path: Path) -> None:
    """A file that is out of reach already is not hidden again: one line says so."""
    path = database(tmp_path / "goods.sqlite")
    hide.put_away(path)
    with pytest.raises(ValueError, match="out of reach already"):
        hide.put_away(path)
    hide.bring_back(path)
    assert rows(path) == [(7,)]
