"""Scenarios of the lab itself: its supervisor, or a helper, dies as it comes up, is reset, goes.

A person starts it again then. What was acknowledged is there, nobody of the earlier life is alive,
and what the next life is told stays.
"""

import os
import shutil
import signal
from contextlib import suppress
from typing import Any

import psutil

from labkit.faults import points
from labkit.home import Home
from labkit.matrix.customer import Placed, Unexpected
from labkit.matrix.labs import seeds
from labkit.matrix.scenario import IS_PLACED, OF_THE_LAB, Script, scenario
from labkit.matrix.stage import ScenarioContext
from labkit.stack.supervisor import control, launch
from labkit.stack.supervisor.control import NotUp

_TRIES = 4
_PROGRAM = "labkit.stack"
#: Where the supervisor dies while a helper works; and what keeps that helper at it, so that one
#: that went on by itself would be met.
_WHILE_IT_WORKS, _WORKING = "supervisor.start_helper.after_record", "helper.put_aside.before_rename"


@scenario("first-up", "a lab comes up for the first time, and takes an order", OF_THE_LAB)
def first_up(stage: ScenarioContext) -> Script:
    """A home without databases and keys."""
    stage.emptied = True
    home = stage.lab.home
    launch.down(home)
    for folder in (home.databases, home.keys):
        shutil.rmtree(folder)
    yield
    _keep_a_helper_working(stage)
    _come_up(stage)
    return {_lasting_order(stage): IS_PLACED}


@scenario("up-again", "a lab that was taken down comes up again with the order it had", OF_THE_LAB)
def up_again(stage: ScenarioContext) -> Script:
    """A home with data."""
    order = stage.user.order(money_paid=1_00)
    stage.lab.settle()
    launch.down(stage.lab.home)
    yield
    _come_up(stage)
    return {order: IS_PLACED, stage.user.order(money_paid=1_00): IS_PLACED}


@scenario("reset", "a lab is reset: all that was there goes, or nothing", OF_THE_LAB)
def reset(stage: ScenarioContext) -> Script:
    """A reset is done whole, or not at all; and once it is done, or not, nothing comes later."""
    stage.emptied = True
    orders = [stage.user.order(coupon=True, money_paid=1_00) for _ in range(2)]
    yield
    _keep_a_helper_working(stage)
    acknowledged = _told(stage, "reset", **seeds())
    _come_up(stage)
    stays = _whole_or_gone(stage, orders, acknowledged)
    return dict.fromkeys([*stays, _lasting_order(stage)], IS_PLACED)


@scenario("scale", "a service gets a second process, and loses it again", OF_THE_LAB)
def scale(stage: ScenarioContext) -> Script:
    """More processes, and fewer; after a crash of the supervisor as many as at first."""
    order = stage.user.order(money_paid=1_00)
    yield
    for number in (2, 1):
        _told(stage, "scale", goods=number)
        _come_up(stage)
    return {order: IS_PLACED, stage.user.order(money_paid=1_00): IS_PLACED}


@scenario("down", "a lab is taken down, and comes up again with the order it had", OF_THE_LAB)
def down(stage: ScenarioContext) -> Script:
    """Nothing is left of it, however it went."""
    order = stage.user.order(money_paid=1_00)
    yield
    launch.down(stage.lab.home)
    _come_up(stage)
    return {order: IS_PLACED, stage.user.order(money_paid=1_00): IS_PLACED}


@scenario("all-killed", "all processes but the supervisor are killed, the broker too", OF_THE_LAB)
def all_killed(stage: ScenarioContext) -> Script:
    """It starts all of them again, or dies meanwhile."""
    order = stage.user.order(money_paid=1_00)
    yield
    home = stage.lab.home
    before = {one["name"]: one["pid"] for one in launch.status(home)["services"]}
    for pid in before.values():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def back() -> bool:
        now = {
            one["name"]: one["pid"]
            for one in launch.status(home)["services"]
            if one["state"] == "up"
        }
        return now.keys() == before.keys() and not (now.items() & before.items())

    stage.user.wait(lambda: back() or not launch.is_up(home), "all are started again")
    if not launch.is_up(home) and not stage.lab.was_killed():
        raise Unexpected("the supervisor ended, and nobody killed it: see its log")
    _come_up(stage)
    return {order: IS_PLACED, stage.user.order(money_paid=1_00): IS_PLACED}


def alive(home: Home) -> set[int]:
    """Every process of a home that is alive, whatever its state says: forked ones bear the command
    line of their supervisor, which names the home, and the broker names its port."""
    broker = home.state().get("endpoints", {}).get("broker")
    return {
        one.pid
        for one in psutil.process_iter(["cmdline", "status"])
        if _is_of(one.info, home, broker)
    }


def _is_of(info: dict[str, Any], home: Home, broker: str | None) -> bool:
    words = info["cmdline"] or []
    if info["status"] == psutil.STATUS_ZOMBIE:
        return False
    ours = any(word.startswith(_PROGRAM) for word in words)
    return (ours and any(f'"{home.folder}"' in word for word in words)) or (
        broker is not None and f"tcp://{broker}" in words
    )


def _told(stage: ScenarioContext, command: str, **arguments: Any) -> bool:
    """Have the lab do something; whether that was acknowledged."""
    try:
        control.tell(stage.lab.home, command, **arguments)
    except (NotUp, RuntimeError):
        return False
    return True


def _come_up(stage: ScenarioContext) -> None:
    """Have the lab up: where it went, all of it must have gone; start it again as a person would.

    Raises:
        Unexpected: something of its earlier life lives on, or it does not come up.
    """
    home, why = stage.lab.home, ""
    for _ in range(_TRIES):
        if launch.is_up(home) and _told(stage, "ping"):
            return stage.join()
        stage.user.wait(lambda: not alive(home), "nothing outlives its supervisor")
        try:
            stage.lab.bring_up()
        except RuntimeError as error:
            why = str(error)
            points.disarm(home, _WORKING)
    raise Unexpected(f"the lab does not come up: {why}")


def _keep_a_helper_working(stage: ScenarioContext) -> None:
    if stage.fails_at(_WHILE_IT_WORKS):
        stage.breaks(_WORKING, "delay:60")


def _whole_or_gone(
    stage: ScenarioContext, orders: list[Placed], acknowledged: bool
) -> list[Placed]:
    """The orders of before a reset that are there still: all or none.

    Raises:
        Unexpected: some are and some are not; or some are though the reset was acknowledged.
    """
    there = [one for one in orders if stage.is_there(one)]
    if there and (acknowledged or there != orders):
        said = "acknowledged" if acknowledged else "not acknowledged"
        raise Unexpected(f"after a reset, {said}, {len(there)} of {len(orders)} orders are there")
    for order in orders:
        if order not in there:
            stage.user.forget(order)
    return there


def _lasting_order(stage: ScenarioContext) -> Placed:
    """An order that is there also when all services begin anew with what is on disk."""
    order = stage.user.order(money_paid=1_00)
    stage.power_cut()
    stage.user.wait(lambda: stage.user.find(order), "an acknowledged order stays")
    return order
