"""Scenarios of the lab itself: its supervisor or a helper dies during up, reset, scale or down.

A person starts the lab again then. Acknowledged orders are there, no earlier process is alive, and
what the new processes acknowledge stays.
"""

import os
import shutil
import signal
from contextlib import suppress
from typing import Any

import psutil

from labkit.faults import points
from labkit.home import Home
from labkit.matrix.context import ScenarioContext
from labkit.matrix.customer import Placed, Unexpected
from labkit.matrix.labs import reset_seeds
from labkit.matrix.scenario import IS_PLACED, LAB_PROCESSES, Script, scenario
from labkit.stack.supervisor import control, launch
from labkit.stack.supervisor.control import NotUp

_MAX_STARTS = 4
_PROGRAM = "labkit.stack"
#: The supervisor dies here while a helper works.
_DURING_HELPER = "supervisor.start_helper.after_record"
#: A delay here keeps that helper busy, so that one that outlives its supervisor would be noticed.
_HELPER_BUSY = "helper.put_aside.before_rename"


@scenario("first-up", "a lab comes up for the first time, and takes an order", LAB_PROCESSES)
def first_up(context: ScenarioContext) -> Script:
    """Bring up a home that has no databases and no keys."""
    context.needs_reset = True
    home = context.lab.home
    launch.down(home)
    for folder in (home.databases, home.keys):
        shutil.rmtree(folder)
    yield
    _keep_a_helper_working(context)
    _come_up(context)
    return {_lasting_order(context): IS_PLACED}


@scenario(
    "up-again", "a lab that was taken down comes up again with the order it had", LAB_PROCESSES
)
def up_again(context: ScenarioContext) -> Script:
    """Bring up a home that has data."""
    order = context.customer.order(money_paid=1_00)
    context.lab.settle()
    launch.down(context.lab.home)
    yield
    _come_up(context)
    return {order: IS_PLACED, context.customer.order(money_paid=1_00): IS_PLACED}


@scenario("reset", "a lab is reset: all that was there goes, or nothing", LAB_PROCESSES)
def reset(context: ScenarioContext) -> Script:
    """Reset the lab: all or nothing is reset, and nothing changes afterwards."""
    context.needs_reset = True
    orders = [context.customer.order(coupon=True, money_paid=1_00) for _ in range(2)]
    yield
    _keep_a_helper_working(context)
    acknowledged = _acknowledged(context, "reset", **reset_seeds())
    _come_up(context)
    existing = _whole_or_gone(context, orders, acknowledged)
    return dict.fromkeys([*existing, _lasting_order(context)], IS_PLACED)


@scenario("scale", "a service gets a second process, and loses it again", LAB_PROCESSES)
def scale(context: ScenarioContext) -> Script:
    """Scale a service up and down; a supervisor that crashed restores the first number."""
    order = context.customer.order(money_paid=1_00)
    yield
    for number in (2, 1):
        _acknowledged(context, "scale", goods=number)
        _come_up(context)
    return {order: IS_PLACED, context.customer.order(money_paid=1_00): IS_PLACED}


@scenario("down", "a lab is taken down, and comes up again with the order it had", LAB_PROCESSES)
def down(context: ScenarioContext) -> Script:
    """Take the lab down; nothing of it lives on, however it went down."""
    order = context.customer.order(money_paid=1_00)
    yield
    launch.down(context.lab.home)
    _come_up(context)
    return {order: IS_PLACED, context.customer.order(money_paid=1_00): IS_PLACED}


@scenario(
    "all-killed", "all processes but the supervisor are killed, the broker too", LAB_PROCESSES
)
def all_killed(context: ScenarioContext) -> Script:
    """Kill all processes; the supervisor starts them again, unless it dies meanwhile."""
    order = context.customer.order(money_paid=1_00)
    yield
    home = context.lab.home
    services = launch.status(home)["services"]
    before = {process["name"]: process["pid"] for process in services if process["pid"]}
    for pid in before.values():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def are_back() -> bool:
        now = {
            process["name"]: process["pid"]
            for process in launch.status(home)["services"]
            if process["state"] == "up"
        }
        return now.keys() == before.keys() and not (now.items() & before.items())

    context.customer.wait_until(
        lambda: are_back() or not launch.is_up(home), "all are started again"
    )
    if not launch.is_up(home) and not context.lab.was_killed():
        raise Unexpected("the supervisor ended, and nobody killed it: see its log")
    _come_up(context)
    return {order: IS_PLACED, context.customer.order(money_paid=1_00): IS_PLACED}


def alive(home: Home) -> set[int]:
    """List the pids of a home's processes that are alive, whatever its state file says.

    A forked process has the command line of its supervisor, which names the home; the broker's
    names its port.
    """
    broker = home.state().get("endpoints", {}).get("broker")
    return {
        process.pid
        for process in psutil.process_iter(["cmdline", "status"])
        if _is_of(process.info, home, broker)
    }


def _is_of(info: dict[str, Any], home: Home, broker: str | None) -> bool:
    words = info["cmdline"] or []
    if info["status"] == psutil.STATUS_ZOMBIE:
        return False
    is_labkit = any(word.startswith(_PROGRAM) for word in words)
    return (is_labkit and any(f'"{home.folder}"' in word for word in words)) or (
        broker is not None and f"tcp://{broker}" in words
    )


def _acknowledged(context: ScenarioContext, command: str, **arguments: int) -> bool:
    """Send the supervisor a command; return True if it was acknowledged."""
    try:
        control.tell(context.lab.home, command, **arguments)
    except (NotUp, RuntimeError):
        return False
    return True


def _come_up(context: ScenarioContext) -> None:
    """Bring the lab up as a person would; where it is down, no process of it may be alive.

    Raises:
        Unexpected: an earlier process lives on, or the lab does not come up.
    """
    home, why = context.lab.home, ""
    for _ in range(_MAX_STARTS):
        if launch.is_up(home) and _acknowledged(context, "ping"):
            return context.reconnect()
        context.customer.wait_until(lambda: not alive(home), "nothing outlives its supervisor")
        try:
            context.lab.bring_up()
        except RuntimeError as error:
            why = str(error)
            points.disarm(home, _HELPER_BUSY)
    raise Unexpected(f"the lab does not come up: {why}")


def _keep_a_helper_working(context: ScenarioContext) -> None:
    if context.cell_injects(_DURING_HELPER):
        context.inject(_HELPER_BUSY, "delay:60")


def _whole_or_gone(
    context: ScenarioContext, orders: list[Placed], acknowledged: bool
) -> list[Placed]:
    """List the orders from before a reset that exist still, which must be all or none.

    Raises:
        Unexpected: only some exist; or some exist though the reset was acknowledged.
    """
    existing = [order for order in orders if context.order_exists(order)]
    if existing and (acknowledged or existing != orders):
        answer = "acknowledged" if acknowledged else "not acknowledged"
        count = f"{len(existing)} of {len(orders)}"
        raise Unexpected(f"after a reset, {answer}, {count} orders are there")
    for order in orders:
        if order not in existing:
            context.customer.forget(order)
    return existing


def _lasting_order(context: ScenarioContext) -> Placed:
    """Place an order, and check that it is there after all services restart from their disks."""
    order = context.customer.order(money_paid=1_00)
    context.power_cut()
    context.customer.wait_until(lambda: context.customer.find(order), "an acknowledged order stays")
    return order
