"""The command line: breaking things, seeing what is broken or stuck, mending, starting afresh."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.lab import Lab
from labkit.waiting import wait_until
from tests.integration.conftest import assert_whole
from tests.support.db import ask_status, labkit
from tests.support.history import History

pytestmark = pytest.mark.slow

CONFIRM = "order.confirm_pre_order.before_commit"
RETURN = "goods.return_stock.before_commit"
RECORD = "order.record_cancelled.before_commit"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab in which an event is given up after two tries, so that a test need not wait long."""
    home = tmp_path_factory.mktemp("cli") / "home"
    up = labkit("up", home=home, LABKIT_RETRY_LIMIT="2")
    assert up.returncode == 0, up.stderr
    yield Lab.up(home)
    assert labkit("down", home=home).returncode == 0


@pytest.fixture
def home(lab: Lab) -> Path:
    return lab.home.folder


@pytest.fixture
def history(lab: Lab) -> Iterator[History]:
    """The lab as at the start; afterwards all settles and holds, and the answers are true."""
    lab.reset()
    history = History(lab.home.folder)
    yield history
    assert_whole(lab.home.folder)
    if history.answers:
        history.check()


def answer(*words: str, home: Path) -> Any:
    """The JSON that a command prints."""
    done = labkit(*words, "--json", home=home)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_check_sees_what_is_broken(home: Path, history: History) -> None:
    """Exit code 0 where all holds; a cent added behind the shop's back is 1, and named."""
    assert history.place(coupon=True, money_paid=1_00).placed
    whole = answer("check", home=home)
    assert all(verdict.keys() == {"name", "held", "looked_at", "broken"} for verdict in whole)
    assert all(verdict["held"] and not verdict["broken"] for verdict in whole)
    looked_at = {verdict["name"]: verdict["looked_at"] for verdict in whole}
    assert looked_at["stock is conserved"] == looked_at["balance is conserved"] == 1

    history.tables.write("user", "UPDATE trade_user SET user_money = user_money + 1")
    try:
        spoilt, plain = labkit("check", "--json", home=home), labkit("check", home=home)
    finally:
        history.tables.write("user", "UPDATE trade_user SET user_money = user_money - 1")
    assert (spoilt.returncode, plain.returncode) == (1, 1)
    (broken,) = [load for load in json.loads(spoilt.stdout) if not load["held"]]
    assert broken["name"] == "balance is conserved"
    assert "89901" in str(broken["broken"])
    assert "balance is conserved is broken by" in plain.stdout


def test_a_fault_acts_as_often_as_it_is_armed(home: Path, history: History) -> None:
    """Armed twice, two confirms are refused and the third works; hits are counted."""
    assert labkit("fault", CONFIRM, "refuse", "--times", "2", home=home).returncode == 0
    assert [history.place().code for _ in range(3)] == [10005, 10005, 1]
    (point,) = [listed for listed in answer("failpoints", home=home) if listed["name"] == CONFIRM]
    assert (point["service"], point["boundary"]) == ("order", "before_commit")
    assert point["hits"] == 3


def test_a_fault_lets_crossings_go_by_first(home: Path, history: History) -> None:
    """Armed after two, the third confirm is refused; until then the list says what is to come."""
    assert labkit("fault", CONFIRM, "refuse", "--after", "2", home=home).returncode == 0
    assert history.place().placed
    (point,) = [listed for listed in answer("failpoints", home=home) if listed["name"] == CONFIRM]
    assert point["armed"] == {"action": "refuse", "times": 1, "after": 1}
    assert "refuse × 1, after 1 more" in labkit("failpoints", home=home).stdout
    assert [history.place().code for _ in range(3)] == [1, 10005, 1]


def test_a_crash_happens_once_and_survives_a_restart(home: Path, history: History) -> None:
    """The count is taken down before the crash, so the service that comes back stays up."""
    before = pid_of(home, "order")
    assert labkit("fault", CONFIRM, "crash", home=home).returncode == 0
    history.place(key="k", money_paid=1_00)
    assert labkit("settle", home=home).returncode == 0
    assert pid_of(home, "order") not in (None, before)
    assert history.place().placed


def test_clear_disarms_all(home: Path, history: History) -> None:
    """After `fault --clear`, and after a reset, nothing that was armed acts."""
    for clear in (["fault", "--clear"], ["reset"]):
        assert labkit("fault", CONFIRM, "refuse", "--times", "9", home=home).returncode == 0
        assert labkit(*clear, home=home).returncode == 0
        history.begin()
        assert history.place().placed


def pid_of(home: Path, service: str) -> int | None:
    ask_status.cache_clear()
    return next(
        process["pid"] for process in ask_status(home)["services"] if process["name"] == service
    )


def test_what_was_given_up_is_driven_home_by_hand(home: Path, history: History) -> None:
    """A dead event is listed with its cause, and broken in the check; `retry` drives it by hand."""
    answered = history.place(goods_number=3, coupon=True)
    assert labkit("fault", RETURN, "refuse", "--times", "99", home=home).returncode == 0
    assert history.cancel(answered.order_id).status_code == 200
    assert labkit("settle", home=home).returncode == 0  # dead is not in flight: people decide

    (item,) = answer("stuck", home=home)
    assert {"id", "what", "order", "cause", "tries", "next_try"} <= item.keys()
    assert item["id"].startswith("goods.")
    assert "order_cancel is dead" in item["what"]
    assert item["order"] == answered.order_id
    assert item["tries"] >= 2
    assert RETURN in item["cause"]
    assert labkit("check", home=home).returncode == 1

    failed = labkit("retry", item["id"], home=home)
    assert (failed.returncode, RETURN in failed.stdout + failed.stderr) == (1, True)
    assert labkit("fault", "--clear", home=home).returncode == 0
    assert labkit("retry", item["id"], home=home).returncode == 0
    assert answer("stuck", home=home) == []
    again = labkit("retry", item["id"], home=home)
    assert again.returncode == 1  # it is done already


def test_a_dead_event_is_driven_home_while_another_group_lacks_it(
    lab: Lab, home: Path, history: History
) -> None:
    """An event that lies in both boxes of its service, not settled in one and dead in the other,
    is driven where it is dead."""
    answered = history.place(coupon=True)
    with lab.faults.killed("coupon"), lab.faults.armed(RECORD, "refuse", times=2):
        assert history.cancel(answered.order_id).status_code == 200
        mine = "SELECT event_id FROM trade_mq_consumer_log WHERE status = 2"
        (row,) = wait_until(
            lambda: history.tables.rows("order", mine), "the order service gives it up"
        )
        lacking = "SELECT * FROM trade_mq_producer WHERE status <> 2"
        assert history.tables.rows("order", lacking)
        assert labkit("retry", f"order.{row['event_id']}", home=home).returncode == 0
        assert history.tables.rows("order", mine) == []


@pytest.mark.timeout(900)
def test_given_up_and_taken_back(lab: Lab, home: Path, history: History) -> None:
    """Given up while goods lacks it, an event is sent no more; taken back it is settled, once."""
    answered = history.place(goods_number=3)
    with lab.faults.killed("goods"):
        assert history.cancel(answered.order_id).status_code == 200
        (letter,) = wait_until(lambda: answer("stuck", home=home), "goods lacks it", timeout=30)
        assert letter["id"].startswith("order.outbox.")
        assert labkit("give-up", letter["id"], home=home).returncode == 0
        (dead,) = answer("stuck", home=home)
        assert (dead["id"], dead["next_try"], dead["kind"]) == (letter["id"], None, "dead_out")
        assert dead["cause"].startswith("given up by hand: ")
    assert labkit("settle", home=home).returncode == 0  # a dead letter is not in flight
    assert labkit("check", home=home).returncode == 1

    assert labkit("take-back", letter["id"], home=home).returncode == 0
    assert labkit("settle", home=home).returncode == 0
    assert answer("stuck", home=home) == []
    for verb in ("give-up", "take-back"):  # it is home, and stays there
        done = labkit(verb, letter["id"], home=home)
        assert (done.returncode, "is done already" in done.stderr) == (1, True)


@pytest.mark.timeout(900)
def test_the_same_from_a_notebook(lab: Lab, history: History) -> None:
    """Frames of what is stuck and in flight, and the three buttons, also where a loop runs."""
    answered = history.place(goods_number=3)
    with lab.faults.armed(RETURN, "refuse", times=99):
        assert history.cancel(answered.order_id).status_code == 200
        wait_until(lambda: "inbox of goods" in lab.stuck().to_string(), "goods could not handle it")
        (id,) = (item for item in lab.stuck(raw=True)["id"] if item.startswith("goods."))
        with pytest.raises(RuntimeError, match=r"refused; see: lab\.stuck"):
            lab.by_hand.retry(id)
        assert lab.by_hand.give_up(id).endswith("is given up")
        lab.settle()
        assert lab.in_flight().empty
        assert list(lab.stuck()["what"]) == ["order_cancel is dead in the inbox of goods"]

    async def in_a_cell() -> str:
        return lab.by_hand.take_back(id)

    assert asyncio.run(in_a_cell()).endswith("is taken back")
    lab.settle()
    assert lab.stuck().empty
    assert f'href="{lab.console}"' in lab.console._repr_html_()


def test_settle_says_what_is_still_in_flight(lab: Lab, home: Path, history: History) -> None:
    """While goods is down its part of a cancel is in flight: exit code 1, and which order."""
    answered = history.place(goods_number=3)
    with lab.faults.killed("goods"):
        assert history.cancel(answered.order_id).status_code == 200
        settle = labkit("settle", "--timeout", "0.1", home=home)
        assert settle.returncode == 1
        assert "order_cancel" in settle.stdout
        assert str(answered.order_id) in settle.stdout
    assert labkit("settle", home=home).returncode == 0


def test_reset_puts_the_first_data_back(home: Path, history: History) -> None:
    """Whatever was bought, the tables are those of the case again, and no order is left."""
    opening = history.tables.everything()
    assert history.place(coupon=True, money_paid=900_00).placed
    assert labkit("reset", home=home).returncode == 0
    history.begin()
    sizes = {name: len(rows) for name, rows in history.tables.everything().items()}
    assert sizes == {name: len(rows) for name, rows in opening.items()}
    (goods,), (user,) = history.goods.values(), history.users.values()
    (coupon,) = history.coupons.values()
    assert (goods["goods_name"], user["user_name"]) == ("华为P30", "刘备")
    assert (goods["goods_number"], goods["goods_price"]) == (999, 5_000_00)
    assert (user["user_money"], user["user_score"]) == (900_00, 100)
    assert (coupon["coupon_price"], coupon["user_id"]) == (20_00, user["user_id"])
    assert coupon["is_used"] == 0


def test_reset_seeds_as_much_as_is_asked_for(home: Path, history: History) -> None:
    """Ids count from 1, every opening amount is in the logs, and each coupon has an owner."""
    seeds = "--goods 3 --users 4 --stock 5 --balance 600 --coupons 6"
    assert labkit("reset", *seeds.split(), home=home).returncode == 0
    history.begin()
    assert {goods_id: row["goods_number"] for goods_id, row in history.goods.items()} == {
        1: 5,
        2: 5,
        3: 5,
    }
    assert [row["user_money"] for row in history.users.values()] == [600] * 4
    assert [*history.users] == [1, 2, 3, 4]
    assert [*history.coupons] == [1, 2, 3, 4, 5, 6]
    assert {row["user_id"] for row in history.coupons.values()} == {1, 2, 3, 4}
    number_log = "SELECT sum(goods_number) AS n FROM trade_goods_number_log WHERE order_id = 0"
    money_log = "SELECT sum(use_money) AS n FROM trade_user_money_log WHERE order_id = 0"
    assert history.tables.rows("goods", number_log) == [{"n": 15}]
    assert history.tables.rows("user", money_log) == [{"n": 2400}]
    assert history.place(user_id=4, goods_id=3, coupon=True, money_paid=600).placed
