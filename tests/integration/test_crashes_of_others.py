"""Goods, coupon, user and log service and order web die at any boundary they cross.

The pay service and the pay web do so in test_pay_chaos.py.
"""

import pytest

from labkit.faults.points import catalogue
from labkit.shop.wiring import SERVICES
from tests.telling import Teller
from tests.waiting import until

ELSEWHERE = ("order", "pay", "pay-web")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("service", [name for name in SERVICES if name not in ELSEWHERE])
def test_a_crash_at_any_boundary(
    teller: Teller, crossed: list[str], service: str, subtests: pytest.Subtests
) -> None:
    """Killed before and after each commit, call, send and offset: decided, settled, all there."""
    names = [name for name in crossed if name.startswith(f"{service}.")]
    assert names
    for name in names:
        with subtests.test(failpoint=name):
            teller.crash(name, teller.story)


@pytest.mark.parametrize("name", [one for one in catalogue() if ".keep_failure." in one])
def test_a_crash_while_a_failed_event_is_kept(teller: Teller, name: str) -> None:
    """A handler fails, and the process dies as that is written down: the event is not lost."""
    service = SERVICES[name.partition(".")[0]]
    handler = next(iter(service.handlers.values())).name
    refusal = f"{service.name}.{handler}.before_commit"

    def story() -> None:
        teller.lab.faults.arm(refusal, "refuse")
        teller.story()

    teller.crash(name, story)
    assert not teller.armed(refusal)


@pytest.mark.parametrize("boundary", ["before_commit", "after_commit"])
def test_a_crash_while_a_subscriber_does_not_answer(teller: Teller, boundary: str) -> None:
    """A subscriber is down, and the sender dies as it writes down that it will ask again."""
    name = f"order.postpone.{boundary}"

    def story() -> None:
        with teller.lab.faults.killed("coupon"):
            teller.story()
            until(lambda: not teller.armed(name), f"{name} is reached")

    teller.crash(name, story)


@pytest.mark.parametrize("boundary", ["before_commit", "after_commit"])
def test_a_crash_while_a_lost_event_is_sent_again(teller: Teller, boundary: str) -> None:
    """A subscriber was down, the broker lost its message, and the sender dies finding that out."""

    def story() -> None:
        with teller.lab.faults.killed("coupon"):
            teller.story()
            teller.lab.faults.lose_broker()

    teller.crash(f"order.mark_missing.{boundary}", story)
