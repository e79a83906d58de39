"""A deploy day under load: from release to release and back, while customers buy and pay.

python -m bench.deploy [embedded|containers] [ROUNDS]
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from bench.deploy_load import ORDERS_A_SECOND
from bench.load import percentile
from bench.sample import USERS
from labkit.home import Home
from labkit.ops import in_flight
from labkit.ops.reader import Reader
from labkit.shop.states import OrderStatus, PayStatus
from labkit.shop.tables import order
from labkit.stack.releases import newest, rolling
from labkit.stack.releases.unpack import find
from labkit.stack.setup.backends import Stack, choose
from labkit.stack.supervisor import control, launch

DAY = ("1.1", "1.2", "1.1")
_CALM_S, _SETTLE_S = 3.0, 60.0
_MOST_ORDERS = 20_000


@dataclass(frozen=True)
class Stretch:
    """One stretch of the day: a roll, or the calm before it.

    Attributes:
        what: it is.
        began: when, by `time.time`.
        ended: when.
    """

    what: str
    began: float
    ended: float


@dataclass(frozen=True)
class Day:
    """What came of a day.

    Attributes:
        stretches: its parts.
        told: what customers were told; see `deploy_load.Told`.
        wrong: what is not as they were told, or does not hold; empty where all is right.
    """

    stretches: list[Stretch]
    told: Mapping[str, Any]
    wrong: list[str]

    def rows(self) -> list[dict[str, object]]:
        """Return a row for each stretch: how long it took, and how long customers waited."""
        return [self._row(stretch) for stretch in self.stretches]

    def _row(self, stretch: Stretch) -> dict[str, object]:
        waits = [
            1000 * seconds
            for due, seconds in self.told["waits"]
            if stretch.began <= due < stretch.ended
        ]
        percents = {f"p{percent}_ms": percentile(waits, percent) for percent in (50, 99, 100)}
        return {
            "stretch": stretch.what,
            "seconds": round(stretch.ended - stretch.began, 1),
            "orders": len(waits),
            **{name: None if value is None else round(value) for name, value in percents.items()},
        }


def deploy_day(home: Home, stack: Stack, on_progress: Callable[[str], None]) -> Day:
    """Live one day in a new home: start a lab, and take it through its releases under load.

    Args:
        home: is made; its lab is down at the end.
        stack: to run on.
        on_progress: called with what is done.
    """
    launch.up(home, backends=choose(stack, on_progress), dies_with_us=True)
    try:
        control.tell(
            home,
            "reset",
            users=USERS,
            goods=1,
            stock=_MOST_ORDERS,
            balance=10**9,
            coupons=_MOST_ORDERS,
        )
        stretches = []
        with _load(home) as told:
            for number in DAY:
                stretches.append(_stretch("calm", lambda: time.sleep(_CALM_S)))
                release = find(home, number)
                roll = lambda: rolling.upgrade(home, release, on_progress)  # noqa: B023, E731  # run at once
                stretches.append(_stretch(f"roll to {number}", roll))
            stretches.append(_stretch("calm", lambda: time.sleep(_CALM_S)))
        return Day(stretches, told, list(_wrong(home, told)))
    finally:
        launch.down(home)


def _stretch(what: str, work: Callable[[], None]) -> Stretch:
    began = time.time()
    work()
    return Stretch(what, began, time.time())


@contextmanager
def _load(home: Home) -> Iterator[dict[str, Any]]:
    """Put load on a lab during a block; what customers were told is there after it."""
    command = [sys.executable, "-m", "bench.deploy_load", str(home.folder)]
    told: dict[str, Any] = {}
    load = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield told
    finally:
        output, _ = load.communicate("")
    told.update(json.loads(output))


def _wrong(home: Home, told: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is not as customers were told, or does not hold."""
    reader = Reader(home)
    try:
        for item in in_flight.settle(reader, _SETTLE_S):
            yield f"it does not settle: {item}"
        columns = select(order.c.order_id, order.c.order_status, order.c.pay_status)
        rows = {row["order_id"]: row for row in reader.query("order", columns)}
        broken = [each for each in newest.check(home, reader) if not each["held"]]
    finally:
        reader.close()
    wanted = (
        ("placed", "order_status", OrderStatus.CONFIRMED),
        ("cancelled", "order_status", OrderStatus.CANCELLED),
        ("paid", "pay_status", PayStatus.PAID),
    )
    for what, column, status in wanted:
        lost = [number for number in told[what] if rows.get(number, {}).get(column) != status]
        if lost:
            yield f"{len(lost)} of {len(told[what])} were told {what} and are not: {lost[:3]}"
    yield from (f"{what}: {times}" for what, times in told["trouble"].items())
    yield from (f"{each['name']} is broken by {each['broken']}" for each in broken)


def main(stack: str = "embedded") -> None:
    """Live a day, and print what came of it."""
    with tempfile.TemporaryDirectory(prefix="deploy-") as folder:
        day = deploy_day(Home(Path(folder) / "lab"), Stack(stack), print)
    for row in day.rows():
        print(row)
    print(
        {name: len(day.told[name]) for name in ("placed", "paid", "cancelled")}, day.told["tries"]
    )
    print(f"{ORDERS_A_SECOND} orders a second were due; wrong: {day.wrong or 'nothing'}")
    sys.exit(bool(day.wrong))


if __name__ == "__main__":
    main(*sys.argv[1:])
