"""Turn the question round: whatever is changed in a real shop's data, an invariant sees it.

What none sees stands in `tests/support/harmless.py` with the reason, and in
`docs/data-mutations.md`. The seed is printed; MUTATIONS says how many rows are spoilt in each way
(all: a large number), SEED chooses them again.
"""

import os
import random
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.home import DATABASES, Home
from labkit.ops.history import History
from labkit.ops.invariants import answers, check, views
from labkit.ops.invariants.mirror import attach, connect
from labkit.runtime.clock import LabClock, wall_ms
from tests.integration.data_mutations import Kind, kinds, rows_for
from tests.support.busy_shop import busy_lab, copy_whole, make_busy
from tests.support.harmless import HARMLESS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MOST = int(os.environ.get("MUTATIONS", "2"))
SEED = int(os.environ.get("SEED", "1"))
#: So many rows are tried to show that an exception is none yet that is seen after all.
TRIED_FOR_AN_EXCEPTION = 40


class Shop:
    """The databases of a shop on one connection, on which each change is taken back."""

    def __init__(self, home: Home, now_ms: int) -> None:
        self.mirror = connect()
        for name in DATABASES:
            attach(self.mirror, name, home.databases / f"{name}.sqlite", "rw")
        self._invariants = list(check.INVARIANTS)
        self._told = History(home).exchanges()
        latest = LabClock(home.clock_file).now() + check._AHEAD
        self._values = {"now_ms": now_ms, "latest": str(latest)}

    def broken(self) -> str:
        """Return the name of an invariant that does not hold; empty where all hold.

        What saw the last changes is asked first.
        """
        views.create_tables(self.mirror)
        answers.create_tables(self.mirror, self._told)
        for invariant in self._invariants:
            if invariant.evaluate(self.mirror, self._values).broken:
                self._invariants.remove(invariant)
                self._invariants.insert(0, invariant)
                return invariant.name
        return ""

    def sees(self, kind: Kind, row: dict[str, int]) -> str:
        """Return what sees a change, the schema among it; empty where nothing does."""
        self.mirror.execute("BEGIN")
        try:
            self.mirror.execute(kind.sql, row)
            return self.broken()
        except sqlite3.IntegrityError as error:
            return f"the schema: {error}"
        finally:
            self.mirror.execute("ROLLBACK")

    def is_whole(self) -> bool:
        """Return True if all invariants hold as the data is."""
        self.mirror.execute("BEGIN")
        broken = self.broken()
        self.mirror.execute("ROLLBACK")
        return not broken


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with busy_lab(tmp_path_factory.mktemp("lab") / "home") as lab:
        make_busy(lab)
        home = copy_whole(lab, tmp_path_factory.mktemp("whole"))
    shop = Shop(home, wall_ms())
    yield shop
    shop.mirror.close()


def test_whatever_is_changed_is_seen_or_harmless(shop: Shop) -> None:
    """Each column changed, emptied and filled, each row deleted and doubled, in some rows each."""
    print(f"seed {SEED}, {MOST} rows a kind")
    dice = random.Random(SEED)
    assert shop.is_whole(), "the shop is whole before anything is changed"
    unseen, tried = defaultdict[str, list[Any]](list), 0
    stale = set(HARMLESS)
    for kind in kinds():
        for row in rows_for(shop.mirror, kind, MOST, dice):
            tried += 1
            if not is_harmless(shop, kind, row):
                if not shop.sees(kind, row):
                    unseen[f"{kind.database}.{kind.name}"].append(row)
            elif kind.place in stale and not shop.sees(kind, row):
                stale.remove(kind.place)
    assert tried > 1000
    assert not unseen, f"seed {SEED}: nothing sees these, and no reason is given: {dict(unseen)}"
    stale = {place for place in stale if not is_unseen(shop, place, dice)}
    assert not stale, f"seed {SEED}: what is said to be harmless is seen: {stale}"


def is_harmless(shop: Shop, kind: Kind, row: dict[str, int]) -> bool:
    """Return True if there is a reason why nobody need see that this row changes."""
    where, _ = HARMLESS.get(kind.place, ("0", ""))
    query = f'SELECT 1 FROM "{kind.database}".{kind.table} WHERE rowid = :row AND ({where})'
    return shop.mirror.execute(query, row).fetchone() is not None


def is_unseen(shop: Shop, place: str, dice: random.Random) -> bool:
    """Return True if a change that is said to be harmless is unseen in some row."""
    of_place = [kind for kind in kinds() if kind.place == place]
    return any(
        is_harmless(shop, kind, row) and not shop.sees(kind, row)
        for kind in of_place
        for row in rows_for(shop.mirror, kind, TRIED_FOR_AN_EXCEPTION, dice)
    )


def test_the_page_of_what_is_harmless_is_complete() -> None:
    """Each exception stands in the docs with its reason, and no other does."""
    page = (ROOT / "docs" / "data-mutations.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{place}` | {'anywhere' if where == '1' else f'`{where}`'} | {why} |"
        for place, (where, why) in HARMLESS.items()
    ]
