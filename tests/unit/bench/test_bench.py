"""The parts of the bench: figures and their page, the floor, orders of the past."""

import re
import sqlite3
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import page, past_runs
from bench.figures import Figure, shown
from bench.fill import fill, seeds_for
from bench.floor import GROUP, Floor
from bench.measures import CLIENTS
from bench.sample import PRICE, USERS, sample
from labkit.home import Home
from labkit.ops.invariants import check
from labkit.ops.reader import Reader
from labkit.runtime.clock import as_time, wall_ms
from labkit.shop.tables import TABLES
from labkit.stack.setup.seeds import files, first_data, seed

ROOT = Path(__file__).parents[3]
FIGURES = [
    *(
        Figure(name, 100.0 * clients, unit, target)
        for clients in CLIENTS
        for name, unit, target in (
            (f"orders, {clients} client{'s' * (clients > 1)}", "1/s", ">=600"),
            (f"p50, {clients} client{'s' * (clients > 1)}", "ms", None),
            (f"p99, {clients} client{'s' * (clients > 1)}", "ms", None),
        )
    ),
    Figure("floor: the steps alone", 2000.0, "1/s"),
    Figure("left out", None, "", ">=0.9"),
]


def rows(home: Home, service: str, sql: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(home.databases / f"{service}.sqlite") as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.parametrize(
    ("value", "target", "met"),
    [
        (600.0, ">=600", True),
        (599.9, ">=600", False),
        (0.15, "<0.15", False),
        (0.1, "<0.15", True),
        (0.0, "<=0", True),
        (1.0, "<=0", False),
        (1.0, None, None),
        (None, "<4", None),
    ],
)
def test_a_figure_knows_whether_it_meets_its_target(
    value: float | None, target: str | None, met: bool | None
) -> None:
    """At the edge too; without a target or a value there is nothing to say."""
    figure = Figure("one", value, "ms", target)
    assert figure.met is met
    shape = {"name": "one", "value": value, "unit": "ms", "target": target, "note": ""}
    assert figure.as_json() == shape


def test_a_note_stands_beside_the_name() -> None:
    """In the table, so that a run with another one has the same name for who reads JSON."""
    figure = Figure("back after", 1.0, "s", None, "pay")
    assert figure.as_row()["figure"] == "back after: pay"
    assert (figure.as_json()["name"], figure.as_json()["note"]) == ("back after", "pay")


def test_the_page_is_renewed_between_its_marks(tmp_path: Path) -> None:
    """Table and chart are replaced, the words around stay; done twice it is the same."""
    copy = tmp_path / "figures.md"
    copy.write_text((ROOT / "docs" / "figures.md").read_text("utf-8"), "utf-8")
    around = re.compile(r"<!-- figures -->.*<!-- /figures -->", re.DOTALL)
    before = around.sub("", copy.read_text("utf-8"))
    for _ in range(2):
        page.renew(copy, FIGURES)
        text = copy.read_text("utf-8")
        assert around.sub("", text) == before
        assert text.count("\n| orders, 64 clients | 6,400 | 1/s | >=600 | met |  |\n") == 1
        assert "\n| left out | – |  | >=0.9 | – |  |\n" in text
    chart = ElementTree.fromstring(copy.with_suffix(".svg").read_text("utf-8"))
    words = "".join(chart.itertext())
    assert all(shown(each.value) in words for each in FIGURES if each.unit == "1/s")


def test_a_run_is_compared_with_the_last_of_its_kind(tmp_path: Path) -> None:
    """Of another kind there is none; a line that was cut is passed over."""
    history = tmp_path / "runs.jsonl"
    assert past_runs.last_values(history, "embedded") == {}
    for value in (1.0, 2.0):
        past_runs.keep(history, "embedded", [Figure("orders", value, "1/s")])
    past_runs.keep(history, "containers", [Figure("orders", 9.0, "1/s")])
    with history.open("a") as lines:
        lines.write('{"kind": "embedded", "fig')
    before = past_runs.last_values(history, "embedded")
    assert before == {"orders": 2.0}
    assert Figure("orders", 3.0, "1/s").as_row(before)["last run"] == "2"
    assert "last run" not in Figure("orders", 3.0, "1/s").as_row()


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    """Nothing is written over a page that is not meant for it."""
    other = tmp_path / "other.md"
    other.write_text("mine")
    with pytest.raises(ValueError, match="has no marks"):
        page.renew(other, FIGURES)
    assert [path.name for path in tmp_path.iterdir()] == ["other.md"]
    assert other.read_text() == "mine"


def test_the_sample_order_fits_the_first_goods() -> None:
    """Its price is the one that the goods have; its coupon is dealt to its user."""
    assert first_data("goods")[0]["goods_price"] == PRICE
    orders = [sample(number) for number in range(1, 2 * USERS)]
    assert {order["user_id"] for order in orders} == set(range(1, USERS + 1))
    assert [order["coupon_id"] for order in orders] == list(range(1, 2 * USERS))


def test_the_floor_does_all_that_an_order_does(tmp_path: Path) -> None:
    """Every order of a group is confirmed and holds its stock, coupon and balance."""
    home = Home(tmp_path).make()
    floor = Floor(home.databases, GROUP)
    assert floor.place(list(range(1, GROUP + 1))) == GROUP
    floor.close()
    reader = Reader(home)
    verdicts = {verdict["name"]: verdict for verdict in check.check(reader)}
    reader.close()
    assert [verdict for verdict in verdicts.values() if not verdict["held"]] == []
    assert verdicts["confirmed orders are covered"]["looked_at"] == GROUP
    operations = Counter[object]()
    for service in TABLES:
        found_there = rows(home, service, "SELECT operation FROM trade_operation")
        operations.update(name for (name,) in found_there)
    assert operations == dict.fromkeys(
        ["save_pre_order", "confirm_order", "deduct_stock", "use_coupon", "deduct_balance"], GROUP
    )


def test_orders_of_the_past_look_like_orders(tmp_path: Path) -> None:
    """Each has what the shop would have left of it in every database, and nothing is in flight."""
    home = Home(tmp_path).make()
    seed(files(home.databases), seeds_for(10), as_time(wall_ms()))
    fill(home, 300)
    reader = Reader(home)
    broken = {verdict["name"] for verdict in check.check(reader) if not verdict["held"]}
    reader.close()
    assert broken == set()
    for service, sql, is_there in (
        ("order", "SELECT count(*), min(pay_status) FROM trade_order", (300, 2)),
        ("order", "SELECT count(DISTINCT order_id) FROM trade_order_request", (300,)),
        ("coupon", "SELECT count(*) FROM trade_coupon WHERE is_used", (300,)),
    ):
        assert rows(home, service, sql) == [is_there]
