"""The time until what failed is right again, and the cost of being able to fail."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import timeit
from collections.abc import Iterator
from datetime import UTC
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select

from bench.ground import Ground
from bench.sample import sample
from labkit.faults import points
from labkit.home import Home
from labkit.ops.reader import Reader
from labkit.runtime.clock import wall_ms
from labkit.runtime.db.operations import UNDONE
from labkit.runtime.db.tables import operation, outbox
from labkit.runtime.injection.failpoints import Failpoints
from labkit.runtime.rpc.tool_client import calls_from
from labkit.shop import contracts
from labkit.shop import messages as m
from labkit.shop.codes import Code
from labkit.shop.order.contract import OrderService
from labkit.stack.setup.backends import Stack
from labkit.stack.supervisor import launch
from labkit.waiting import poll_until

CONFIRM = "order.confirm_pre_order.before_commit"
_TAKEN = {"goods": "deduct_stock", "coupon": "use_coupon", "user": "deduct_balance"}
_PATIENCE_SECONDS = 15.0
_CROSSINGS = 200_000


def give_back_ms(ground: Ground, times: int) -> list[float]:
    """Let orders fail at confirm, one after the other.

    Args:
        ground: its lab is reset.
        times: how many count; one before them does not: it waits until the consumers have joined.

    Returns:
        For each the milliseconds from the transaction that cancels it until stock, coupon and
        balance are given back, in all three databases.

    Raises:
        RuntimeError: orders fail before they come to confirm, or are not given back.
    """
    most = 2 * times + 10
    ground.reset(most)
    points.arm(ground.home, CONFIRM, "refuse", most)
    reader = Reader(ground.home)
    recoveries = [
        _give_back(order_id, reader) for order_id in islice(_fail(ground.url, most), times + 1)
    ]
    reader.close()
    points.disarm(ground.home, CONFIRM)
    if len(recoveries) <= times:
        raise RuntimeError(f"only {len(recoveries)} of {most} orders came as far as confirm")
    return recoveries[1:]


def _fail(url: str, most: int) -> Iterator[int]:
    """Place orders, and give the ids of those that failed at confirm and not before."""
    with httpx.Client(base_url=url, timeout=_PATIENCE_SECONDS, trust_env=False) as client:
        for number in range(1, most + 1):
            answer = client.post("/order/confirm", json=sample(number)).json()
            if answer["code"] == Code.ORDER_CONFIRM_FAILED:
                yield int(answer["data"]["order_id"])


def _give_back(order_id: int, reader: Reader) -> float:
    undone = {
        service: select(operation.c.order_id).where(
            operation.c.order_id == order_id,
            operation.c.operation == name,
            operation.c.outcome == UNDONE,
        )
        for service, name in _TAKEN.items()
    }

    def all_undone() -> bool:
        for name in [name for name, query in undone.items() if reader.query(name, query)]:
            del undone[name]
        return not undone

    if not poll_until(all_undone, _PATIENCE_SECONDS, poll=0.001):
        raise RuntimeError(f"order {order_id}: not given back by {', '.join(undone)}")
    back = wall_ms()
    told_at = select(outbox.c.add_time).where(outbox.c.msg_key == str(order_id))
    (cancelled,) = reader.query("order", told_at)
    since: float = cancelled["add_time"].replace(tzinfo=UTC).timestamp()
    return back - 1000 * since


def back_seconds(home: Home) -> dict[str, float]:
    """Kill each service with −9: service → seconds until it answers a call again."""
    return asyncio.run(_back_seconds(home))


async def _back_seconds(home: Home) -> dict[str, float]:
    queries: dict[str, Any] = {
        "goods": (contracts.GoodsService, "find_goods", m.FindGoods(goods_id=1)),
        "coupon": (contracts.CouponService, "find_coupon", m.FindCoupon(coupon_id=1)),
        "user": (contracts.UserService, "find_user", m.FindUser(user_id=1)),
        "order": (OrderService, "find_order", m.FindOrder(order_id=1)),
    }
    took = {}
    async with calls_from("bench", home, _PATIENCE_SECONDS) as calls:
        for service, (contract, method, query) in queries.items():
            ask = getattr(calls.stub(contract, service), method)
            await ask(query)
            began = time.monotonic()
            os.kill(Ground(home).processes()[service].pid, signal.SIGKILL)
            await ask(query)  # asks again until the deadline, as every caller does
            took[service] = time.monotonic() - began
    return took


def up_seconds(home: Home, stack: Stack = Stack.embedded) -> float:
    """Measure how long `labkit up` takes, from the command to its end; the lab is down after.

    Raises:
        RuntimeError: it did not come up; says what the command said.
    """
    labkit = [sys.executable, "-P", "-m", "labkit"]
    command = [*labkit, "up", "--stack", stack, "--home", str(home.folder)]
    began = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().removeprefix("labkit: "))
        return time.monotonic() - began
    finally:
        launch.down(home)


def crossing_ns(folder: Path) -> float:
    """Measure what crossing a failpoint that nobody armed costs, the call included."""
    folder.mkdir()
    failpoints = Failpoints(folder, "bench", points.catalogue().values())
    failpoints.cross(CONFIRM)
    cross = timeit.timeit(lambda: failpoints.passes(CONFIRM), number=_CROSSINGS)
    nothing = timeit.timeit(lambda: None, number=_CROSSINGS)
    return 1e9 * (cross - nothing) / _CROSSINGS
