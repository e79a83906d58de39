"""Every invariant sees what it guards against: real data, spoilt in just that way."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.home import Home
from labkit.lab import Lab, crossings, invariants, liveness
from labkit.lab.data import DATABASES, Reader
from labkit.runtime.clock import wall_ms
from tests import spoilt_orders, spoilt_payments
from tests.spoilt_orders import LATER, Changes
from tests.telling import quick_lab
from tests.waiting import until

SPOILT = spoilt_orders.SPOILT | spoilt_payments.SPOILT
OTHERS = spoilt_orders.OTHERS | spoilt_payments.OTHERS


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with quick_lab(tmp_path_factory.mktemp("lab") / "home") as lab:
        lab.reset(users=1, balance=10**7, coupons=2)
        yield lab


def answered(ask: Any) -> Any:
    """A success, asked for once more where the machine was too slow for it."""

    def once() -> Any:
        answer = ask()
        return answer if answer.status == 200 else None

    return until(once, "an answer", seconds=30)


@pytest.fixture(scope="module")
def ids(lab: Lab) -> dict[str, int]:
    """Orders that were paid, returned, paid too late, given up and paid, cancelled in time, refused
    and left unpaid."""

    def order(**wanted: Any) -> str:
        return str(answered(lambda: lab.order(**wanted)).order_id)

    def pay(order_id: str) -> int:
        return int(answered(lambda: lab.pay(order_id)).pay_id)

    twice = order()
    given_up = int(answered(lambda: lab.give_up(twice)).pay_id)
    lab.settle()
    paid, returned = pay(twice), pay(back := order())
    unpaid, late, _free = order(coupon=True), order(), order(money_paid=5_000_00)
    assert lab.order(goods_number=10**6).status == 422
    cancelled = order(coupon=True, money_paid=3_00)
    closed = int(answered(lambda: lab.create_payment(cancelled)).pay_id)
    answered(lambda: lab.cancel(cancelled))
    opened = answered(lambda: lab.create_payment(late))
    take = "pay.take_payment.before_commit"
    before = lab.faults.hits(take)
    with lab.faults.armed(take, "refuse", 10**6):
        lab.client.press(opened.cashier_url, "pay")
        until(lambda: lab.faults.hits(take) > before, "the callback is refused")
        answered(lambda: lab.cancel(late))
        is_cancelled = lambda: lab.client.find(late).json()["data"]["order_status"] == 2  # noqa: E731
        until(is_cancelled, "the order is cancelled")
    lab.settle()
    answered(lambda: lab.return_order(back))
    open_pay = int(answered(lambda: lab.create_payment(unpaid)).pay_id)
    lab.settle()
    return {"order": int(twice), "paid": paid, "given_up": given_up, "returned": returned,
            "too_late": int(opened.pay_id), "open": open_pay, "unpaid": int(unpaid),
            "cancelled": int(cancelled), "closed": closed}  # fmt: skip


@pytest.fixture(scope="module")
def whole(lab: Lab, ids: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The databases as they are after all that, apart from the lab; `ids` made them."""
    assert ids
    home = Home(tmp_path_factory.mktemp("whole")).make()
    for name in DATABASES:
        with sqlite3.connect(lab.home.databases / f"{name}.sqlite") as connection:
            connection.execute("VACUUM INTO ?", [str(home.databases / f"{name}.sqlite")])
    return home


@pytest.fixture(scope="module")
def copied_at(whole: Home) -> int:
    """When they were copied (wall-clock ms)."""
    assert whole
    return wall_ms()


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
            with sqlite3.connect(home.databases / f"{database}.sqlite") as connection:
                changed = connection.execute(sql, ids).rowcount
            assert changed >= 1, sql

    for module in (crossings, liveness):
        monkeypatch.setattr(module, "wall_ms", lambda: clock)
    return change


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies still need not be waited for between two looks."""
    monkeypatch.setattr(invariants, "_BETWEEN_LOOKS", 0.0)


def test_none_is_without_proof() -> None:
    """Each invariant there is, of orders and payments alike, is proved to see below."""
    assert [one.name for one in invariants.INVARIANTS if one.name not in SPOILT] == []
    assert len(SPOILT) == len(invariants.INVARIANTS)


def test_each_looks_at_something_and_holds(
    home: Home, ids: dict[str, int], spoil: Callable[[Changes], None]
) -> None:
    """On the data that is spoilt below all hold, and none looks at nothing."""
    assert len(ids) == len(set(ids.values()))
    spoil([])
    assert broken(home) == set()
    reader = Reader(home)
    looked_at = {one["name"]: one["looked_at"] for one in invariants.check(reader)}
    reader.close()
    assert all(looked_at.values()), looked_at


@pytest.mark.parametrize("name", SPOILT)
def test_an_invariant_sees_what_it_guards_against(
    home: Home, spoil: Callable[[Changes], None], name: str
) -> None:
    """Data spoilt in one way breaks that invariant, and only what cannot but see the same."""
    others, changes = SPOILT[name]
    spoil(changes)
    assert broken(home) == {name} | others


@pytest.mark.parametrize("what", OTHERS)
def test_other_ways_to_lose_something_are_seen(
    home: Home, spoil: Callable[[Changes], None], what: str
) -> None:
    """Each is seen by what it touches; what is merely on its way is no breach."""
    expected, changes = OTHERS[what]
    spoil(changes)
    assert broken(home) == expected
