"""A settled, busy shop: orders of every ending, payments, refunds, coupons and dead letters.

It is made by real processes, once, and copied: whoever spoils it spoils a copy.
"""

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from labkit.home import DATABASES, Home
from labkit.lab import Lab
from labkit.ops.history import History
from labkit.shop.states import OrderStatus
from labkit.waiting import wait_until
from tests.support.storyline import quick_lab

_CONFIRM = "order.confirm_pre_order.before_commit"
_REFUSE = "order.refuse_order.before_commit"
_SAVED = "order.save_pre_order.after_commit"
_TAKE = "pay.take_payment.before_commit"
_GIVE_BACK = "goods.return_stock.before_commit"


@contextmanager
def busy_lab(home: Path) -> Iterator[Lab]:
    """Start a lab that can be made busy, and keeps what its clients are told."""
    with quick_lab(home, LABKIT_TRACING="on") as lab:
        History(lab.home).start()
        lab.reset(users=2, balance=10**7, coupons=12, goods=2, stock=1000)
        yield lab


def make_busy(lab: Lab) -> dict[str, int]:
    """End orders in every way there is; the last payment stays open.

    Returns:
        The ids of some of them, by what became of them.
    """
    shop = _Shop(lab)
    shop.fail_and_expire()
    shop.race_for_a_coupon()
    shop.refuse()
    shop.let_one_die_and_come_back()
    ids: dict[str, int] = {}
    for user in (2, 1):
        ids = shop.pay_and_return(user) | shop.cancel(user)
    ids["too_late"] = shop.pay_too_late()
    ids["unpaid"] = int(shop.order(coupon=True))
    lab.settle()
    ids["open"] = int(answered(lambda: lab.create_payment(ids["unpaid"])).pay_id)
    stopped = int(answered(lambda: lab.create_payment(shop.order())).pay_id)
    lab.by_hand.give_up(f"pay.{stopped}")
    lab.settle()
    shop.look_up(ids)
    return ids


class _Shop:
    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def order(self, **wanted: Any) -> str:
        self.lab.clock.advance(seconds=7)  # else all times are the same, and one says no more
        return str(answered(lambda: self.lab.order(**wanted)).order_id)

    def fail_and_expire(self) -> None:
        """Let one order fail at its confirmation, one die there, and one wait too long for pay."""
        with self.lab.faults.armed(_CONFIRM, "refuse"):
            self.lab.order(coupon=True, money_paid=1_00)
        with self.lab.faults.armed(_CONFIRM, "crash"):
            self.lab.order(goods_number=2)
        self.lab.settle()
        self.order(money_paid=2_00)
        self.lab.clock.advance(hours=1)
        self._is(OrderStatus.CANCELLED, lambda row: row["money_paid"] == 2_00)

    def race_for_a_coupon(self) -> None:
        """Let two orders for one coupon both find it unused."""
        body = self.lab.client.body(coupon=True, user_id=2)
        with self.lab.faults.armed(_SAVED, "delay:0.7", 2), ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda key: self.lab.client.place(body, key), ["race-1", "race-2"]))
        self.lab.settle()

    def refuse(self) -> None:
        """Refuse what the rules refuse, twice under one key; of one request nothing comes."""
        for _ in range(2):
            assert self.lab.order(goods_number=10**6, key="too many").status == 422
        assert self.lab.order(money_paid=10**9, key="too much").status == 422
        with self.lab.faults.armed(_REFUSE, "refuse"):
            assert self.lab.order(goods_number=10**6, key="nothing").status == 503

    def let_one_die_and_come_back(self) -> None:
        """Give a message up, and drive it by hand when it can be handled again."""
        cancelled = self.order(money_paid=3_00)
        with self.lab.faults.armed(_GIVE_BACK, "refuse", 10**6):
            answered(lambda: self.lab.cancel(cancelled))
            dead = wait_until(self._dead, "a dead letter", timeout=30)
        self.lab.by_hand.retry(dead)
        self.lab.settle()

    def pay_and_return(self, user_id: int) -> dict[str, int]:
        """Pay orders, at the second go, by balance alone, and return them."""
        twice, back = self.order(user_id=user_id, goods_id=2), self.order(user_id=user_id)
        given_up = int(answered(lambda: self.lab.give_up(twice)).pay_id)
        self.lab.settle()
        paid, returned = self.pay(twice), self.pay(back)
        self.order(user_id=user_id, money_paid=5_000_00)
        free = self.order(user_id=user_id, money_paid=4_980_00, coupon=True)
        self.lab.settle()
        self.lab.clock.advance(seconds=7)
        answered(lambda: self.lab.return_order(back))
        answered(lambda: self.lab.return_order(free))
        self.lab.settle()
        return {"order": int(twice), "paid": paid, "given_up": given_up, "returned": returned}

    def cancel(self, user_id: int) -> dict[str, int]:
        """Cancel an order as its user, with a payment that is open."""
        cancelled = self.order(user_id=user_id, coupon=True, money_paid=3_00)
        closed = int(answered(lambda: self.lab.create_payment(cancelled)).pay_id)
        answered(lambda: self.lab.cancel(cancelled))
        self.lab.settle()
        return {"cancelled": int(cancelled), "closed": closed}

    def pay_too_late(self) -> int:
        """Cancel an order that is being paid just then."""
        late = self.order()
        opened = answered(lambda: self.lab.create_payment(late))
        with self.lab.faults.armed(_TAKE, "refuse", 10**6):
            self.lab.client.press(opened.cashier_url, "pay")
            wait_until(lambda: self._was_told(opened.pay_id), "the callback is refused")
            answered(lambda: self.lab.cancel(late))
            self._is(OrderStatus.CANCELLED, lambda row: str(row["order_id"]) == late)
            self.lab.clock.advance(seconds=7)  # before the payment is taken after all
        self.lab.settle()
        return int(opened.pay_id)

    def pay(self, order_id: str) -> int:
        self.lab.clock.advance(seconds=7)
        return int(answered(lambda: self.lab.pay(order_id)).pay_id)

    def look_up(self, ids: dict[str, int]) -> None:
        """Ask for orders and payments of every ending, and for one that is not there."""
        for order_id in (ids["order"], ids["cancelled"], ids["unpaid"]):
            answered(lambda order_id=order_id: self.lab.client.find(order_id))
        for pay_id in (ids["paid"], ids["returned"], ids["closed"], ids["too_late"]):
            answer = answered(lambda pay_id=pay_id: self.lab.client.find_payment(pay_id))
            answered(
                lambda payment=answer: self.lab.client.find(payment.json()["data"]["order_id"])
            )
        wait_until(lambda: self.lab.client.find(1).status_code == 404, "there is no order 1")

    def _is(self, status: int, which: Callable[[Any], bool]) -> None:
        def is_decided() -> bool:
            rows = self.lab.tables("trade_order", raw=True).to_dict("records")
            return any(row["order_status"] == status and which(row) for row in rows)

        wait_until(is_decided, f"an order in state {status}", timeout=30)

    def _was_told(self, pay_id: str) -> bool:
        rows = self.lab.tables("platform_notice", raw=True).to_dict("records")
        return any(row["out_trade_no"] == int(pay_id) and row["tries"] for row in rows)

    def _dead(self) -> str | None:
        rows = self.lab.stuck(raw=True).to_dict("records")
        return next((row["id"] for row in rows if row["next_try"] is None), None)


def answered(ask: Callable[[], Any]) -> Any:
    """Ask until it is a success: the machine may be too slow for it once."""

    def once() -> Any:
        answer = ask()
        status = answer.status_code if isinstance(answer, httpx.Response) else answer.status
        return answer if status == 200 else None

    return wait_until(once, "an answer", timeout=30)


def copy_whole(lab: Lab, folder: Path) -> Home:
    """Copy the databases of a lab as they are, apart from its processes."""
    home = Home(folder).make()
    for name in DATABASES:
        with sqlite3.connect(lab.home.databases / f"{name}.sqlite") as connection:
            connection.execute("VACUUM INTO ?", [str(home.databases / f"{name}.sqlite")])
    for file in (lab.home.clock_file, lab.home.history_file):
        (home.folder / file.name).write_text(file.read_text())
    return home
