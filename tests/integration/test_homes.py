"""A home belongs to one lab and one user; what was before a reset never comes back."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from labkit.lab import Lab
from labkit.runtime.clock import wall_ms
from labkit.runtime.errors import Unknown
from labkit.runtime.injection.network import UNBROKEN
from labkit.runtime.registry.ids import first_of
from labkit.runtime.rpc.connection import connect_with
from labkit.shop.messages import DeductStock
from labkit.stack.supervisor import spawn
from labkit.waiting import wait_until
from tests.support.db import labkit
from tests.support.history import History
from tests.support.processes import gone, processes
from tests.support.storyline import placed

pytestmark = pytest.mark.slow

FAIL = "order.confirm_pre_order.before_commit"


def test_a_home_in_use_is_left_alone(lab: Lab) -> None:
    """A second `up` says that it is up; a second supervisor gives up with one line."""
    before = processes(lab.home.folder)
    result = labkit("up", home=lab.home.folder)
    assert (result.returncode, "is up already" in result.stdout) == (0, True)
    spec = json.dumps(
        {
            "home": str(lab.home.folder),
            "instances": {},
            "stack": "embedded",
            "dies_with_stdin": False,
        }
    )
    second = subprocess.run(
        [sys.executable, "-m", "labkit.stack", spec], capture_output=True, text=True
    )
    assert (second.returncode, second.stderr.count("\n")) == (1, 1)
    assert f"a lab is up in {lab.home.folder} already" in second.stderr
    assert processes(lab.home.folder) == before


def test_two_homes_never_touch_each_other(lab: Lab, history: History, tmp_path: Path) -> None:
    """One loses its broker, is emptied and taken down; the other sees nothing of it."""
    other = Lab.up(tmp_path / "other")
    try:
        own_processes, other_processes = processes(lab.home.folder), processes(other.home.folder)
        assert not set(own_processes.values()) & set(other_processes.values())
        assert placed(history)
        before = history.tables.everything()
        assert placed(History(other.home.folder), money_paid=1_00)
        other.faults.lose_broker()
        other.reset()
    finally:
        other.down()
    assert history.tables.everything() == before
    assert processes(lab.home.folder) == own_processes


def test_a_home_is_its_owners_alone(lab: Lab) -> None:
    """Nobody else can enter the home, so nobody else can read the secret or the databases."""
    assert stat.S_IMODE(lab.home.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(lab.home.secret_file.stat().st_mode) == 0o600


@pytest.mark.parametrize("secret", ["", "guessed"])
def test_a_call_without_the_secret_is_refused(lab: Lab, history: History, secret: str) -> None:
    """A neighbour on the same machine finds the port: it can take nothing."""
    assert placed(history)
    before = history.tables.everything()
    listed = lab.home.state()["services"]
    endpoint = next(process["endpoint"] for process in listed if process["name"] == "goods")
    goods_id = next(iter(history.goods))
    body = DeductStock(order_id=1, goods_id=goods_id, goods_number=1).model_dump_json().encode()

    async def call() -> None:
        connection = connect_with(secret)(endpoint, "goods", lambda _: None, UNBROKEN)
        with pytest.raises(Unknown, match="UNAUTHENTICATED"):
            await connection.ask("deduct_stock", body, time.monotonic() + 30)
        await connection.close()

    asyncio.run(call())
    assert history.tables.everything() == before


def test_a_foreign_process_with_a_recorded_pid_lives_on() -> None:
    """A pid was given to somebody else since it was recorded: the birth tells, and it lives on."""
    with subprocess.Popen(["sleep", "60"]) as foreign:
        born = spawn.birth(foreign.pid)
        assert born
        assert spawn.kill_left_over([{"pid": foreign.pid, "birth": f"{born}0"}]) == []
        assert foreign.poll() is None
        assert spawn.kill_left_over([{"pid": foreign.pid, "birth": born}]) == [foreign.pid]


def test_a_reset_under_load_lets_nothing_through(lab: Lab) -> None:
    """Four clients never stop; of what was before a reset, no row is there after it."""
    history = History(lab.home.folder)
    lab.faults.arm(FAIL, "refuse", times=10**6)
    with history.buying(clients=4, money_paid=1) as answers:
        for _ in range(3):
            so_far = len(answers)
            wait_until(lambda more=so_far + 20: len(answers) > more, "orders are being placed")
            began = first_of(wall_ms())
            lab.reset()
    lab.settle()
    rows = history.tables.everything()
    assert rows["order.trade_order"]
    dated = {name: [number(row) for row in rows_] for name, rows_ in rows.items()}
    old = {
        name: [candidate for candidate in numbers if 0 < candidate < began]
        for name, numbers in dated.items()
    }
    assert not any(old.values()), old


def number(row: dict[str, Any]) -> int:
    """The id that dates a row: its event or its order; 0 where it has none."""
    return int(row.get("event_id") or row.get("order_id") or 0)


def test_a_reset_that_is_killed_half_way(tmp_path: Path) -> None:
    """All processes die with −9 while the data is being put back: the home still comes up whole."""
    home = tmp_path / "home"
    lab = Lab.up(home)
    before = processes(home)
    half = threading.Event()

    def reset() -> None:
        with suppress(Exception):  # it dies under us
            half.set()
            lab.reset(users=5000, coupons=5000)

    thread = threading.Thread(target=reset)
    thread.start()
    half.wait()
    wait_until(lambda: gone({"goods": before["goods"]}), "the reset has begun")
    os.killpg(before["supervisor"], signal.SIGKILL)
    thread.join()
    lab = Lab.up(home)
    try:
        assert placed(History(home))
        lab.settle()
        assert set(lab.check()["held"]) == {"yes"}
    finally:
        lab.down()
