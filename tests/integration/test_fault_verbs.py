"""Several faults at once, and faults from the command line."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from labkit.lab import Lab
from labkit.runtime.injection.standing import FaultBook
from labkit.waiting import wait_until
from tests.support.breaking import Fault, broken, trade
from tests.support.storyline import Teller

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "faults",
    [
        [
            ("slow", ("user", 0.05)),
            ("duplicated", ("order_cancel",)),
            ("cut", ("order", "coupon", "back", "dropped")),
        ],
        [
            ("late", ("order_cancel", 0.3)),
            ("clock_stepped", ("user", -2.0)),
            ("killed", ("log",)),
        ],
        [
            ("poison", ("paid",)),
            ("cut", ("order-web", "order", "there", "refused")),
            ("paused", ("pay",)),
        ],
    ],
    ids=str,
)
def test_three_at_once(teller: Teller, faults: list[Fault]) -> None:
    """Each of three faults is met while orders go every way; then all settles and holds."""
    with broken(teller, *faults) as reaches:
        trade(teller)
        wait_until(lambda: all(reach.times for reach in reaches), "each is met")


def test_the_command_breaks_for_a_while(teller: Teller) -> None:
    """It says what is broken, mends it when the time is over, and says how often it was met."""
    with breaking(teller.lab, "duplicated", "paid", "--for", "8") as command:
        trade(teller)
        output, _ = command.communicate(timeout=60)
    assert command.returncode == 0, output
    assert "mended; it was met" in output
    assert " 0 time(s)" not in output
    teller.check()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_mends_when_it_is_told_to_stop(teller: Teller, number: signal.Signals) -> None:
    """Ctrl-C, or a SIGTERM: all is mended, and what nothing met is exit code 1."""
    book = FaultBook(teller.lab.home.faults)
    with breaking(teller.lab, "clock-stepped", "log", "-60") as command:
        assert [(rule.kind, rule.amount) for rule in book.standing()] == [("clock_stepped", -60)]
        command.send_signal(number)
        output, _ = command.communicate(timeout=60)
    assert command.returncode == 1
    assert "mended; not reached: clock_stepped: log-1 wrote nothing" in output
    assert book.standing() == []


@contextmanager
def breaking(lab: Lab, *words: str) -> Iterator["subprocess.Popen[str]"]:
    """`labkit break` as a process, once it says that it is broken; it is gone afterwards."""
    command = subprocess.Popen(
        [sys.executable, "-m", "labkit", "break", *words, "--home", str(lab.home.folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "COLUMNS": "300"},
    )
    try:
        assert command.stdout
        line = command.stdout.readline()
        assert "is broken until" in line, line
        yield command
    finally:
        command.kill()
        command.wait()
