"""The wall clock of the machine is set while a lab runs, as when a laptop wakes: nobody notices."""

import time
from collections.abc import Callable, Iterator

import pytest

from labkit.home import Home
from labkit.lab import Lab
from labkit.lab.bug_injection import inject_bug
from labkit.ops import in_flight
from labkit.ops.reader import Reader
from labkit.runtime.clock import wall_ms_of
from labkit.stack.supervisor import launch
from labkit.waiting import wait_until
from tests.support.history import Answered, History

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

HOURS = 3
#: A machine whose wall clock is ahead, or behind, by what a file says: in each of its processes.
_SET = """
import time
_real_ns = time.time_ns
def _ahead():
    with open({file!r}) as file:
        return int(file.read())
time.time_ns = lambda: _real_ns() + _ahead() * 1_000_000_000
time.time = lambda: time.time_ns() / 1e9
"""
Setting = Callable[[int], object]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Setting]]:
    """A lab, and what sets the clock of the machine that it is on, ahead by so many hours."""
    folder = tmp_path_factory.mktemp("machine")
    file = folder / "ahead"
    file.write_text("0")

    def step(hours: int) -> None:
        draft = file.with_suffix(".new")
        draft.write_text(str(hours * 3600))
        draft.replace(file)

    real = time.time_ns, time.time
    code = _SET.format(file=str(file))
    try:
        with inject_bug(code):
            exec(code, {})  # this process is on that machine too
            lab = Lab.up(folder / "home")
            yield lab, step
            lab.down()
    finally:
        time.time_ns, time.time = real


def buy_and_pay(lab: Lab) -> None:
    """Place an order and pay for it, and cancel another one."""
    order, other = lab.order(money_paid=1_00), lab.order()
    assert order.order_id
    assert lab.pay(order.order_id).status == 200
    assert lab.cancel(str(other.order_id)).status == 200


def more_come(answers: list[Answered], number: int) -> None:
    """Wait until so many more requests were answered."""
    enough = len(answers) + number
    wait_until(lambda: len(answers) >= enough, "orders are answered", 240)


@pytest.mark.parametrize("hours", [HOURS, -HOURS], ids=["ahead", "behind"])
def test_a_set_clock_is_noticed_by_nobody(machine: tuple[Lab, Setting], hours: int) -> None:
    """Orders in flight, unpaid ones, messages and lost callbacks go on, then and when it is back.

    What was stored before the step has its time still: no order is cancelled for being late, no
    message waits for hours, and nothing is told to be stuck.
    """
    lab, step = machine
    lab.reset()
    history = History(lab.home.folder)
    reader = Reader(lab.home)
    unpaid = lab.order()
    for ahead in (hours, 0):
        lab.faults.arm("order.find_user.after_call", "delay:0.6", times=1)
        lab.faults.arm("pay-web.take_callback.before_call", "refuse", times=1)
        with history.buying(clients=2, money_paid=1) as answers:
            more_come(answers, 4)
            step(ahead)
            more_come(answers, 8)
        assert {answer.status for answer in answers} <= {200, 202, 422}, answers
        buy_and_pay(lab)
        lab.settle(timeout=240)
        assert in_flight.stuck(reader) == []
        verdicts = lab.check()
        assert set(verdicts["held"]) == {"yes"}, verdicts.to_string()
    assert lab.client.find(str(unpaid.order_id)).json()["data"]["order_status"] == 1


def test_a_lab_on_a_set_clock_is_known(machine: tuple[Lab, Setting]) -> None:
    """It is up already, at once; a lab that is started again does not go back in time."""
    lab, step = machine
    before = wall_ms_of(lab.home)
    step(-HOURS)
    assert launch.up(lab.home) is None
    assert launch.down(lab.home)
    assert launch.up(Home(lab.home.folder)) is not None
    try:
        assert wall_ms_of(lab.home) > before
        assert lab.order().order_id
    finally:
        step(0)
