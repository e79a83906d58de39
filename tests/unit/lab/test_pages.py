"""A lab that has lived long: a page is read alone, and names cost no more than there are ids."""

import cProfile
import pstats
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.fill import fill, seeds_for
from labkit.cli import looking  # noqa: F401  # it registers
from labkit.cli.base import app
from labkit.home import Home
from labkit.lab.display.aliases import Aliases, AliasLoader
from labkit.lab.display.frames import MAX_SHOWN_ROWS, Table, only_changes
from labkit.ops.reader import Reader
from labkit.runtime.clock import as_time, wall_ms
from labkit.stack.setup.seeds import files, seed

ORDERS = 300


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return filled(tmp_path_factory.mktemp("home"), ORDERS)


def filled(folder: Path, orders: int) -> Home:
    home = Home(folder).make()
    seed(files(home.databases), seeds_for(10), as_time(wall_ms()))
    fill(home, orders)
    return home


@pytest.fixture
def reader(home: Home) -> Iterator[Reader]:
    with closing(Reader(home)) as reader:
        yield reader


@pytest.mark.parametrize("name", ["trade_order", "trade_operation", "trade_mq_consumer_log"])
def test_pages_are_the_table_in_parts(reader: Reader, name: str) -> None:
    """Page after page, over the databases that have the table, gives each row once, in order."""
    whole = reader.table(name)
    assert reader.count(name) == len(whole) >= ORDERS
    pages = [reader.page(name, 70, begin) for begin in range(0, len(whole), 70)]
    assert max(map(len, pages)) == 70
    assert [row for page in pages for row in page] == whole
    assert reader.page(name, 70, len(whole)) == []


def test_the_rows_of_one_order_are_found_by_its_id_and_its_key(reader: Reader) -> None:
    """Operations bear its id, messages its key; what bears neither has none of it."""
    order_id = reader.page("trade_order", 1, 5)[0]["order_id"]
    counts = {
        name: reader.count(name, order_id)
        for name in ("trade_order", "trade_operation", "trade_mq_consumer_log", "trade_goods")
    }
    assert counts == {
        "trade_order": 1,
        "trade_operation": 8,
        "trade_mq_consumer_log": 3,
        "trade_goods": 0,
    }
    assert {row["msg_key"] for row in reader.page("trade_mq_consumer_log", 9, 0, order_id)} == {
        str(order_id)
    }


def test_the_command_shows_a_page_and_says_of_how_many(home: Home) -> None:
    """The first page, the last, and one in between."""
    outputs = {
        " ".join(wanted): CliRunner()
        .invoke(app, ["tables", "trade_order", "--home", str(home.folder), *wanted])
        .output
        for wanted in ([], ["--last"], ["--page", "2", "--limit", "10"])
    }
    assert "rows 1 to 50 of 300, page 1 of 6" in outputs[""]
    assert "rows 251 to 300 of 300" in outputs["--last"]
    assert "rows 11 to 20 of 300, page 2 of 30" in outputs["--page 2 --limit 10"]


def test_what_has_a_name_is_not_read_again(reader: Reader) -> None:
    """Names are given in the order of birth, and a second look finds nothing new to name."""
    aliases = Aliases()
    loader = AliasLoader(reader, aliases)
    loader.load()
    ids = [row["order_id"] for row in reader.table("trade_order")]
    assert [aliases.format("order_id", id_) for id_ in ids[:3]] == ["O1", "O2", "O3"]
    assert calls(loader.load) < calls(AliasLoader(reader, Aliases()).load) / 3


def test_twice_as_many_ids_are_twice_the_work() -> None:
    """Counted in calls of functions, not by a clock."""

    def work(number: int) -> int:
        rows = [{"order_id": 10**17 + offset, "user_id": offset % 7} for offset in range(number)]
        return calls(lambda: Aliases().add(rows))

    assert work(4000) < 2.2 * work(2000)


def calls(what: Callable[[], Any]) -> int:
    """Count the functions that something calls, and the rows that they handle."""
    profile = cProfile.Profile()
    profile.runcall(what)
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


def test_a_frame_of_many_rows_shows_the_last_of_them() -> None:
    """And says of how many; the frame itself has all."""
    table = Table([{"number": number} for number in range(MAX_SHOWN_ROWS + 5)])
    shown = repr(table)
    assert len(table) == MAX_SHOWN_ROWS + 5
    assert shown.split()[1] == "5"
    assert shown.endswith(f"the last {MAX_SHOWN_ROWS} of {MAX_SHOWN_ROWS + 5} rows")


def test_of_many_rows_only_those_that_changed_are_compared() -> None:
    """New, changed and gone rows stay; where nothing changed, some stay to say so."""
    before = [{"id": number, "money": 1} for number in range(100)]
    after = [{"id": number, "money": 2 if number == 7 else 1} for number in range(1, 101)]
    old, new = only_changes(before, after)
    assert ([row["id"] for row in old], [row["id"] for row in new]) == ([0, 7], [7, 100])
    assert only_changes(before, before)[0]
