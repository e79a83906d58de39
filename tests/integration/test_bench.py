"""The bench measures what it says, prints each figure once, and says what it cannot do."""

import json
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from bench.figures import Figure
from bench.kills import PROCESSES
from bench.measures import Bench, Pace
from labkit.home import Home
from labkit.stack.supervisor import launch
from tests.support.db import Tables, labkit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
]  # a whole run, and a machine may do much else
#: As short as it goes: what is measured says nothing, but all of it is measured.
MOMENT = Pace(
    warm=0, load=0.3, floor=0.1, idle=0.1, ups=1, rounds=1, failing=2, kills=1, orders_before=1000
)
#: What a machine that is no Linux cannot measure.
LINUX_ONLY = {
    "memory of the stack, idle (PSS)",
    "safety: orders/s that it costs, 64 clients",
    "safety: share of an order's CPU",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the labs of the bench lie, down, after it ran."""
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def figures(folder: Path) -> list[Figure]:
    """All figures of one run."""
    bench = Bench(folder, MOMENT, lambda _: None)
    figures = list(bench.run())
    assert figures[-1].name == "answers other than 200 under load"
    assert figures[-1].value == sum(bench.failures().values())
    return figures


def test_every_figure_stands_once_in_the_fixed_shape(figures: list[Figure]) -> None:
    """Name, value, unit, target; each name once; none without a value that can be measured."""
    listed = json.loads(json.dumps([figure.as_json() for figure in figures]))
    names = [figure["name"] for figure in listed]
    assert len(names) == len(set(names))
    for row in listed:
        assert list(row) == ["name", "value", "unit", "target", "note"]
        assert row["target"] is None or re.fullmatch(r"(<|<=|>|>=)[0-9.]+", row["target"])
        unknown = row["name"] in LINUX_ONLY and sys.platform != "linux"
        assert (row["value"] is None) == unknown, row
    assert {f"orders, {n} clients" for n in (8, 64, 128)} | {"orders, 1 client"} <= set(names)
    targets = {figure["name"]: figure["target"] for figure in listed}
    assert targets["orders, 64 clients"] == ">=1200"
    assert targets["orders, 128 clients"] == ">=1300"
    assert targets["orders, 64 clients, of the floor"] == ">=0.5"


def test_who_is_slowest_after_a_kill_is_named(figures: list[Figure]) -> None:
    """A process, for each of the three times, which grow; and no acknowledged order is lost."""
    killed = [figure for figure in figures if figure.name.startswith("kill -9")]
    assert [figure.note in PROCESSES for figure in killed] == [True, True, True, False]
    assert killed[0].value <= killed[1].value <= killed[2].value
    assert killed[3].value == 0


def test_nothing_is_left_running(figures: list[Figure], folder: Path) -> None:
    """Every lab that the bench started is down when it ends."""
    assert figures
    homes = [path.parent for path in folder.rglob("lab.json")]
    assert len(homes) >= 2
    assert [str(home) for home in homes if launch.is_up(Home(home))] == []


def test_the_lab_without_safety_really_has_none(figures: list[Figure], folder: Path) -> None:
    """There orders are confirmed and paid for, and not one operation is written."""
    assert figures
    if sys.platform == "linux":
        assert operations(folder / "unsafe") == Counter()
    assert operations(folder / "lab") > Counter(
        save_pre_order=1, confirm_order=1, deduct_stock=1, use_coupon=1, deduct_balance=1
    )


def operations(home: Path) -> Counter[str]:
    """Of the orders that a lab placed, by name."""
    urls = {
        service: Home(home).database_url(service)
        for service in ("order", "goods", "coupon", "user")
    }
    tables = Tables(urls)
    assert tables.rows("order", "SELECT * FROM trade_order WHERE order_status = 1 LIMIT 1")
    assert tables.rows("user", "SELECT * FROM trade_user_money_log WHERE order_id LIMIT 1")
    return Counter(
        row["operation"]
        for service in urls
        for row in tables.rows(service, "SELECT operation FROM trade_operation")
    )


def test_containers_without_an_engine_are_refused_clearly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Docker does not answer, that is one line, and nothing is left behind."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    done = labkit("bench", "--stack", "containers", "--json", home=tmp_path / "never")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"labkit: .*Docker engine.*\n", done.stderr)
    assert list((tmp_path / "never").iterdir()) == []
