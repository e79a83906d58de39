"""Every invariant sees what it guards against: real data, spoilt in just that way."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit.home import Home
from labkit.lab import Lab
from labkit.ops.invariants import check
from labkit.ops.reader import Reader
from labkit.runtime.clock import wall_ms
from tests.support import (
    corrupted_books,
    corrupted_operations,
    corrupted_orders,
    corrupted_payments,
    corrupted_told,
)
from tests.support.busy_shop import busy_lab, copy_whole, make_busy
from tests.support.corrupted_orders import LATER, Changes

SPOILT = (
    corrupted_orders.SPOILT
    | corrupted_payments.SPOILT
    | corrupted_books.SPOILT
    | corrupted_told.SPOILT
)
OTHERS = corrupted_operations.OTHERS | corrupted_payments.OTHERS | corrupted_books.OTHERS


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with busy_lab(tmp_path_factory.mktemp("lab") / "home") as lab:
        yield lab


@pytest.fixture(scope="module")
def ids(lab: Lab) -> dict[str, int]:
    """Orders that were paid, returned, paid too late, given up and paid, cancelled in time, refused
    and left unpaid."""
    return make_busy(lab)


@pytest.fixture(scope="module")
def whole(lab: Lab, ids: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The databases as they are after all that, apart from the lab; `ids` made them."""
    assert ids
    return copy_whole(lab, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def copied_at(whole: Home) -> int:
    """When they were copied (wall-clock ms)."""
    assert whole
    return wall_ms()


@pytest.fixture
def home(whole: Home, tmp_path: Path) -> Home:
    """A copy of them, to be spoilt."""
    shutil.copytree(whole.folder, tmp_path / "home")
    return Home(tmp_path / "home")


def broken(home: Home) -> set[str]:
    reader = Reader(home)
    verdicts = {verdict["name"] for verdict in check.check(reader) if not verdict["held"]}
    reader.close()
    return verdicts


@pytest.fixture
def spoil(
    home: Home, ids: dict[str, int], copied_at: int, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Changes], None]:
    """Spoils the copy. Time stands still over it as it was copied, or a minute later."""
    clock = copied_at

    def change(changes: Changes) -> None:
        nonlocal clock
        for database, sql in changes:
            if (database, sql) == LATER:
                clock += 60_000
                continue
            if database == "history":
                old, new = sql.split(" → ")
                text = home.history_file.read_text()
                assert old in text
                home.history_file.write_text(text.replace(old, new, 1))
                continue
            with sqlite3.connect(home.databases / f"{database}.sqlite") as connection:
                changed = connection.execute(sql, ids).rowcount
            assert changed >= 1, sql

    monkeypatch.setattr(check, "wall_ms_of", lambda _home: clock)
    return change


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table at rest need not be waited for between two looks."""
    monkeypatch.setattr(check, "_BETWEEN_LOOKS", 0.0)


def test_none_is_without_proof() -> None:
    """Each invariant there is, of orders and payments alike, is proved to see below."""
    assert [invariant.name for invariant in check.INVARIANTS if invariant.name not in SPOILT] == []
    assert len(SPOILT) == len(check.INVARIANTS)


def test_each_looks_at_something_and_holds(
    home: Home, ids: dict[str, int], spoil: Callable[[Changes], None]
) -> None:
    """On the data that is spoilt below all hold, and none looks at nothing."""
    assert len(ids) == len(set(ids.values()))
    spoil([])
    assert broken(home) == set()
    reader = Reader(home)
    looked_at = {verdict["name"]: verdict["looked_at"] for verdict in check.check(reader)}
    reader.close()
    assert all(looked_at.values()), looked_at


@pytest.mark.parametrize("name", SPOILT)
def test_an_invariant_sees_what_it_guards_against(
    home: Home, spoil: Callable[[Changes], None], name: str
) -> None:
    """Data spoilt in one way breaks that invariant, and what cannot but see the same."""
    also_broken, changes = SPOILT[name]
    spoil(changes)
    assert broken(home) >= {name} | also_broken


@pytest.mark.parametrize("what", OTHERS)
def test_other_ways_to_lose_something_are_seen(
    home: Home, spoil: Callable[[Changes], None], what: str
) -> None:
    """Each is seen by what it touches; what is merely on its way is no breach."""
    expected, changes = OTHERS[what]
    spoil(changes)
    names = broken(home)
    assert names >= expected
    assert bool(names) == bool(expected)
