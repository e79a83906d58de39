"""Every invariant of paying sees what it guards against: real data, spoilt in just that way."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.home import Home
from labkit.lab import Lab, invariants, pay_invariants
from labkit.lab.data import DATABASES, Reader
from tests.telling import quick_lab
from tests.waiting import until

TELL_TWICE = """
INSERT INTO trade_mq_producer SELECT event_id + 1, topic, tag, msg_key, body, '', status, tries,
  next_try, add_time, sent_time, settled_time, last_error, trace
FROM trade_mq_producer WHERE topic = '{}' LIMIT 1"""

#: The invariant that is to see it → what else cannot but see it, and how the data is spoilt.
SPOILT: dict[str, tuple[set[str], list[tuple[str, str]]]] = {
    "one open payment an order": (set(), [
        ("pay", """INSERT INTO trade_pay SELECT pay_id + 1, order_id, user_id, pay_amount, is_paid,
                   NULL, NULL, add_time, NULL, NULL, 0, NULL, NULL
                   FROM trade_pay WHERE pay_id = :open"""),
    ]),
    "a payment is accepted or goes back": (set(), [
        ("pay", """UPDATE trade_operation SET outcome = 'undone'
                   WHERE order_id = :order AND operation = 'accept_payment'"""),
    ]),
    "no order is paid twice": (
        {"orders say paid where a payment stands", "points match payments",
         "the payment log matches payments", "platform and shop have the same money"}, [
        ("pay", "UPDATE trade_pay SET is_paid = 1, pay_time = add_time WHERE pay_id = :given_up"),
    ]),
    "a refund is of what was paid": (set(), [
        ("pay", "UPDATE trade_refund SET amount = amount + 1 WHERE pay_id = :returned"),
    ]),
    "paid is told once": (set(), [("pay", TELL_TWICE.format("paid"))]),
    "refunded is told once": (set(), [("pay", TELL_TWICE.format("refunded"))]),
    "points match operations": (set(), [
        ("user", """UPDATE trade_operation SET amount = amount + 1
                    WHERE order_id = :paid AND operation = 'add_points'"""),
    ]),
    "payment log matches operations": (set(), [
        ("log", "UPDATE trade_operation SET amount = amount + 1 WHERE order_id = :paid"),
    ]),
    "orders say paid where a payment stands": (set(), [
        ("order", "UPDATE trade_order SET pay_status = 0 WHERE order_id = :order"),
    ]),
    "an ended order keeps no payment": (
        {"an end is told once", "cancelled orders hold nothing"}, [
        ("order", "UPDATE trade_order SET order_status = 4 WHERE order_id = :order"),
    ]),
    "points match payments": (set(), [
        ("user", "UPDATE trade_user SET user_score = user_score + 1"),
        ("user", """UPDATE trade_user_score_log SET use_score = use_score + 1
                    WHERE order_id = :order"""),
        ("user", """UPDATE trade_operation SET amount = amount + 1
                    WHERE order_id = :paid AND operation = 'add_points'"""),
    ]),
    "the payment log matches payments": (set(), [
        ("log", "UPDATE trade_pay_log SET amount = amount + 1 WHERE pay_id = :paid"),
        ("log", "UPDATE trade_operation SET amount = amount + 1 WHERE order_id = :paid"),
    ]),
    "platform and shop have the same money": (set(), [
        ("platform", """UPDATE platform_trade SET total_amount = total_amount - 1
                        WHERE out_trade_no = :paid"""),
    ]),
}  # fmt: skip
#: More ways to break what a guarantee rests on.
OTHERS = {
    "no refund of a payment that came too late": (
        {"a payment is accepted or goes back", "an ended order keeps no payment",
         "points match payments", "the payment log matches payments",
         "platform and shop have the same money"},
        [("pay", "DELETE FROM trade_refund WHERE pay_id = :too_late")],
    ),
    "the refund was never made there": (
        {"platform and shop have the same money"},
        [("platform", "DELETE FROM platform_refund WHERE out_trade_no = :returned")],
    ),
    "an unpaid order says paid": (
        {"orders say paid where a payment stands"},
        [("order", "UPDATE trade_order SET pay_status = 2 WHERE order_id = :unpaid")],
    ),
    "paid is not told": (
        {"paid is told once", "events come from an outbox"},
        [("pay", "DELETE FROM trade_mq_producer WHERE topic = 'paid' AND msg_key = :order")],
    ),
    "paid names another payment": (
        {"paid is told once"},
        [("pay", """UPDATE trade_mq_producer SET body = replace(body, :paid, :given_up)
                    WHERE topic = 'paid' AND msg_key = :order""")],
    ),
    "accepted, and not paid": (
        {"a payment is accepted or goes back", "paid is told once", "points match payments",
         "orders say paid where a payment stands", "the payment log matches payments",
         "platform and shop have the same money"},
        [("pay", "UPDATE trade_pay SET is_paid = 2, pay_time = NULL WHERE pay_id = :paid")],
    ),
    "a payment of no order": (
        {"nothing without an order"},
        [("pay", "UPDATE trade_pay SET order_id = 17 WHERE pay_id = :given_up")],
    ),
    "paid there, and nobody asks about it any more": (
        {"platform and shop have the same money"},
        [("pay", "UPDATE trade_pay SET next_check = NULL WHERE pay_id = :open"),
         ("platform", """UPDATE platform_trade SET trade_status = 'TRADE_SUCCESS'
                         WHERE out_trade_no = :open""")],
    ),
    "an ended order leaves its payment open": (
        {"an ended order keeps no payment", "an end is told once", "cancelled orders hold nothing"},
        [("order", "UPDATE trade_order SET order_status = 2 WHERE order_id = :unpaid")],
    ),
    "a coupon loses its owner": (
        {"coupons keep their owners"},
        [("coupon", "UPDATE trade_coupon SET user_id = 0")],
    ),
    "paid there a moment ago": (
        set(),
        [("platform", """UPDATE platform_trade SET trade_status = 'TRADE_SUCCESS'
                         WHERE out_trade_no = :open""")],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with quick_lab(tmp_path_factory.mktemp("lab") / "home") as lab:
        lab.reset(balance=10**7, coupons=1)
        yield lab


def answered(ask: Any) -> Any:
    """A success, asked for once more where the machine was too slow for it."""

    def once() -> Any:
        answer = ask()
        return answer if answer.status == 200 else None

    return until(once, "an answer", seconds=30)


@pytest.fixture(scope="module")
def ids(lab: Lab) -> dict[str, int]:
    """Orders that were paid, returned, paid too late, given up and paid, and left unpaid."""

    def order(**wanted: Any) -> str:
        return str(answered(lambda: lab.order(**wanted)).order_id)

    def pay(order_id: str) -> int:
        return int(answered(lambda: lab.pay(order_id)).pay_id)

    twice = order()
    given_up = int(answered(lambda: lab.give_up(twice)).pay_id)
    lab.settle()
    paid, returned = pay(twice), pay(back := order())
    unpaid, late, _free = order(coupon=True), order(), order(money_paid=5_000_00)
    opened = answered(lambda: lab.create_payment(late))
    with lab.faults.armed("pay.take_payment.before_commit", "refuse", 10**6):
        lab.client.press(opened.cashier_url, "pay")
        answered(lambda: lab.cancel(late))
        is_cancelled = lambda: lab.client.find(late).json()["data"]["order_status"] == 2  # noqa: E731
        until(is_cancelled, "the order is cancelled")
    lab.settle()
    answered(lambda: lab.return_order(back))
    open_pay = int(answered(lambda: lab.create_payment(unpaid)).pay_id)
    lab.settle()
    return {"order": int(twice), "paid": paid, "given_up": given_up, "returned": returned,
            "too_late": int(opened.pay_id), "open": open_pay, "unpaid": int(unpaid)}  # fmt: skip


@pytest.fixture(scope="module")
def whole(lab: Lab, ids: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The databases as they are after all that, apart from the lab; `ids` made them."""
    assert ids
    home = Home(tmp_path_factory.mktemp("whole")).make()
    for name in DATABASES:
        with sqlite3.connect(lab.home.databases / f"{name}.sqlite") as connection:
            connection.execute("VACUUM INTO ?", [str(home.databases / f"{name}.sqlite")])
    return home


@pytest.fixture
def home(whole: Home, tmp_path: Path) -> Home:
    """A copy of them, to be spoilt."""
    shutil.copytree(whole.databases, tmp_path / "databases")
    return Home(tmp_path)


def broken(home: Home) -> set[str]:
    reader = Reader(home)
    found = {one["name"] for one in invariants.check(reader) if not one["held"]}
    reader.close()
    return found


def spoil(home: Home, ids: dict[str, int], changes: list[tuple[str, str]]) -> None:
    for database, sql in changes:
        with sqlite3.connect(home.databases / f"{database}.sqlite") as connection:
            changed = connection.execute(sql, ids).rowcount
        assert changed >= 1, sql


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies still need not be waited for between two looks."""
    monkeypatch.setattr(invariants, "_BETWEEN_LOOKS", 0.0)


def test_each_looks_at_something_and_holds(home: Home, ids: dict[str, int]) -> None:
    """On the data that is spoilt below, all hold, and no invariant of paying looks at nothing."""
    assert len(ids) == len(set(ids.values()))
    assert broken(home) == set()
    reader = Reader(home)
    looked_at = {one["name"]: one["looked_at"] for one in invariants.check(reader)}
    reader.close()
    mine = (*pay_invariants.WITHIN, *pay_invariants.ACROSS)
    assert {one.name for one in mine} == SPOILT.keys()
    assert all(looked_at[one.name] for one in mine), looked_at


@pytest.mark.parametrize("name", SPOILT)
def test_an_invariant_sees_what_it_guards_against(
    home: Home, ids: dict[str, int], name: str
) -> None:
    """Data spoilt in one way breaks that invariant, and only what cannot but see the same."""
    others, changes = SPOILT[name]
    spoil(home, ids, changes)
    assert broken(home) == {name} | others


@pytest.mark.parametrize("what", OTHERS)
def test_other_ways_to_lose_money_are_seen(home: Home, ids: dict[str, int], what: str) -> None:
    """Each is seen by what it touches; what is merely on its way is no breach."""
    expected, changes = OTHERS[what]
    spoil(home, ids, changes)
    assert broken(home) == expected
