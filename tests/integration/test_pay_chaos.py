"""Many payments while callbacks are lost, repeated, late and in disorder, and processes die."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import pytest

from labkit.lab import Lab
from labkit.stack.supervisor import launch
from labkit.waiting import wait_until
from tests.integration.test_paying import is_over
from tests.support.storyline import Teller, quick_lab

pytestmark = pytest.mark.slow

NOTICE = "platform.notify.before_notify"
#: 1,000 were played too, and took a minute on a busy machine.
PAYMENTS, CLIENTS = 250, 24
EACH = 25  # so many callbacks are lost, then so many repeated, then so many held back
OF_THE_DAY = "trade_status = 'TRADE_SUCCESS'"


@pytest.fixture(scope="module")
def pay_teller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Teller]:
    """A lab of its own, which asks the platform soon."""
    settings = {"LABKIT_CHECK_FIRST": "0.4", "LABKIT_CHECK_MAX": "2"}
    with quick_lab(tmp_path_factory.mktemp("lab") / "home", **settings) as lab:
        yield Teller(lab)


class Disorder:
    """Has a third of the callbacks lost, a third sent twice, a third held back, as they go.

    Args:
        lab: whose platform misbehaves.
    """

    VERBS = ("refuse", "duplicate", "reorder")

    def __init__(self, lab: Lab) -> None:
        self._lab, self._done = lab, threading.Event()
        self.times = Counter[str]()

    def __enter__(self) -> "Disorder":
        self._pool = ThreadPoolExecutor(1)
        self._keeps_on = self._pool.submit(self._keep_on)
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._keeps_on.result(timeout=20)
        self._pool.shutdown()
        self._lab.faults.disarm(NOTICE)

    def _keep_on(self) -> None:
        for verb in cycle(self.VERBS):
            if self._done.is_set():
                return
            self._lab.faults.arm(NOTICE, verb, times=EACH)
            while not self._done.is_set() and not is_over(self._lab, NOTICE):
                self._done.wait(0.005)
            self.times[verb] += EACH


def kill(lab: Lab, name: str) -> None:
    """Kill a process of the lab, and see it come back; the broker loses all that it holds."""
    if name == "broker":
        lab.faults.lose_broker()
        return
    before = pid_of(lab, name)
    if before:
        os.kill(before, signal.SIGKILL)
    wait_until(lambda: pid_of(lab, name) not in (None, before), f"{name} is back", timeout=30)


def pid_of(lab: Lab, name: str) -> int | None:
    for process in launch.status(lab.home)["services"]:
        if process["name"] == name and process["state"] == "up":
            return int(process["pid"])
    return None


@pytest.mark.timeout(900)
def test_payments_in_chaos(pay_teller: Teller) -> None:
    """Hundreds of payments, a third of the callbacks lost, a third repeated, a third out of turn,
    while pay service, order service and broker are killed, and some of the orders are cancelled or
    returned meanwhile: then the money at the platform is the money in the shop, to the cent, and
    points and log are there once."""
    lab, history = pay_teller.lab, pay_teller.history
    placed = [
        answer.order_id for answer in history.place_all([{}] * PAYMENTS, CLIENTS) if answer.placed
    ]
    first = len(history.opened)
    with Disorder(lab) as disorder, ThreadPoolExecutor(1) as pool:
        paying = pool.submit(history.pay_all, placed, CLIENTS)
        for part, name in enumerate(("pay", "order", "broker"), start=1):
            wait_until(
                lambda part=part: (
                    len(history.opened) - first >= part * len(placed) // 4 or paying.done()
                ),
                "so many are paid",
                timeout=120,
            )
            kill(lab, name)
        for number, order_id in enumerate(placed):
            if number % 10 == 0:
                history.cancel(order_id)
            elif number % 10 == 5:
                history.give_back(order_id)
        paying.result(timeout=200)
    print(f"{len(placed)} payments, callbacks: {dict(disorder.times)}")
    assert min(disorder.times[verb] for verb in disorder.VERBS) > 0
    pay_teller.check()
    paid = history.tables.rows("platform", f"SELECT * FROM platform_trade WHERE {OF_THE_DAY}")
    assert len(paid) > PAYMENTS / 2
