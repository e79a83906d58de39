"""A story that takes every way an order can go, told again and again while something breaks."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from labkit.lab import Lab
from labkit.waiting import wait_until
from tests.support.history import Answered, History

#: An outage heals in about a second instead of five, so that a hundred fit into a test run.
QUICK = {
    "LABKIT_TRACING": "off",
    "LABKIT_GROUP_SESSION": "0.6",
    "LABKIT_AUDIT_DELAY": "0.2",
    "LABKIT_UNCONFIRMED_DEADLINE": "4",
    "LABKIT_RETRY_LIMIT": "4",
}
#: Kafka in containers refuses a session of less than 1 s, and throws out who stalls for so long.
ON_CONTAINERS = {"LABKIT_GROUP_SESSION": "3"}
FAIL = "order.confirm_pre_order.before_commit"


@contextmanager
def quick_lab(home: Path, **settings: str) -> Iterator[Lab]:
    """A lab with short times, or those that are given, for a block."""
    stack = settings.get("LABKIT_STACK", os.environ.get("LABKIT_STACK"))
    slower = ON_CONTAINERS if stack == "containers" else {}
    with pytest.MonkeyPatch.context() as environment:
        for name, value in (QUICK | slower | settings).items():
            environment.setenv(name, value)
        lab = Lab.up(home)
    try:
        yield lab
    finally:
        lab.down()


def placed(history: History, **wanted: Any) -> Answered:
    """An order that is placed: once more where the machine was too slow for a call's time."""

    def place() -> Answered | None:
        answered = history.place(**wanted)
        return answered if answered.placed else None

    return wait_until(place, f"an order is placed: {wanted}", timeout=30)


class Teller:
    """Tells the same story on a lab, with a coupon for each time.

    Args:
        lab: is reset.
    """

    def __init__(self, lab: Lab) -> None:
        lab.reset(stock=100_000, balance=10**12, coupons=300)
        self.lab = lab
        self.history = History(lab.home.folder)
        self._coupons = count(1)

    def story(self) -> None:
        """One order each: cancelled by its user, refused, failing at confirm, paid and returned."""
        coupon_id = next(self._coupons)
        mine = self.history.place(coupon_id=coupon_id, money_paid=1_00)
        self.history.place(goods_number=200_000)
        if not self.armed(FAIL):
            self.lab.faults.arm(FAIL, "refuse")
        self.history.place(money_paid=2_00)
        self.lab.faults.disarm(FAIL)
        paid = self.history.place(money_paid=5_000_00)
        self._ask(mine, self.history.cancel)
        self._ask(paid, self.history.give_back)
        self._ask(mine, self.history.find)

    def crossed(self) -> list[str]:
        """The failpoints that the story crosses each time."""
        before = self._hits()
        always = set(before)
        for _ in range(3):
            self.story()
            self.check()
            now = self._hits()
            always = {name for name in always if now[name] > before[name]}
            before = now
        return sorted(always)

    def check(self) -> None:
        """Settle; then every invariant and every answer must hold."""
        self.lab.settle(timeout=40)
        verdicts = self.lab.check()
        broken = verdicts[verdicts["held"] != "yes"]
        assert broken.empty, broken.to_string()
        self.history.check()

    def _hits(self) -> dict[str, int]:
        return {point["name"]: point["hits"] for point in self.lab.faults.list()}

    def armed(self, name: str) -> int:
        """How often a failpoint will still act."""
        failpoint = next(point for point in self.lab.faults.list() if point["name"] == name)
        return int(failpoint["armed"]["times"]) if failpoint["armed"] else 0

    def _ask(self, answered: Answered, ask: Callable[[int], httpx.Response]) -> None:
        """Ask for more about an order, if there is one and somebody answers."""
        if answered.order_id:
            with suppress(httpx.TransportError):
                assert ask(answered.order_id).status_code != 500


@contextmanager
def remembered(lab: Lab) -> Iterator[History]:
    """The history of a lab that has much to sell; afterwards all must settle, and be as it says."""
    lab.reset(stock=100_000, balance=10**9, coupons=300)
    history = History(lab.home.folder)
    yield history
    lab.settle(timeout=60)
    history.check()
    checks = lab.check()
    assert set(checks["held"]) == {"yes"}, checks[checks["held"] != "yes"].to_string()
