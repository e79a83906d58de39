"""Slow services, a network that is cut: what is lost is asked again, cancelled, or found."""

import pytest

from labkit.faults import NotReached
from labkit.waiting import wait_until
from tests.support.breaking import Fault, broken, trade
from tests.support.storyline import Teller, placed

pytestmark = pytest.mark.slow

PAYMENTS = "SELECT pay_id FROM trade_pay WHERE order_id = :order_id"
TRADES = "SELECT trade_no FROM platform_trade WHERE out_trade_no = :pay_id"


@pytest.mark.parametrize(
    "faults",
    [
        [("slow", ("goods", 0.1)), ("slow", ("platform", 0.1))],
        [("cut", ("order", "goods", "both", "dropped"))],
        [("cut", ("order", "coupon", "there", "refused"))],
        [("cut", ("pay", "platform", "both", "refused"))],
        [("cut", ("platform", "pay-web", "there", "dropped"))],
    ],
    ids=str,
)
def test_orders_are_right_whatever_is_cut_or_slow(teller: Teller, faults: list[Fault]) -> None:
    """Orders are placed, cancelled, paid and returned meanwhile: all settles, every invariant and
    every answer holds, and each fault was met."""
    with broken(teller, *faults) as reaches:
        trade(teller)
        wait_until(lambda: all(reach.times for reach in reaches), f"all are met: {faults}")


def test_a_slow_service_takes_longer_and_no_longer_after(teller: Teller) -> None:
    """Two steps of goods an order take the seconds that they are told; nothing stays slow, even
    where the fault would have lasted an hour."""
    with teller.lab.faults.slow("goods", 0.3) as reach:
        wait_until(lambda: teller.history.place().placed, "it is placed", timeout=60)
        assert reach.times >= 2
    teller.lab.settle()  # else an audit of messages asks goods
    with pytest.raises(NotReached, match="nobody asked goods"), teller.lab.faults.slow("goods", 1):
        pass
    with teller.lab.faults.slow("coupon", 3600) as reach:  # on a busy machine goods may be too
        wait_until(
            lambda: teller.history.place(coupon_id=290).status == 503 and reach.times,
            "who waits for coupon is told so",
            timeout=60,
        )
    wait_until(
        lambda: teller.history.place(coupon_id=291).placed, "it is as fast as before", timeout=60
    )
    teller.check()


def test_what_is_lost_on_the_way_back_was_done(teller: Teller) -> None:
    """The platform opens a trade, and the shop hears nothing of it: asked again, it is that one."""
    history = teller.history
    order_id = placed(history).order_id
    with teller.lab.faults.cut("pay", "platform", "back"):
        assert history.create(order_id).status == 503
        (payment,) = history.tables.rows("pay", PAYMENTS, order_id=order_id)
        trades = history.tables.rows("platform", TRADES, **payment)
        assert len(trades) == 1
    opened = wait_until(
        lambda: payment if (payment := history.create(order_id)).open else None, "it opens"
    )
    assert opened.pay_id == payment["pay_id"]
    history.press(opened)
    teller.check()
    assert history.tables.rows("platform", TRADES, **payment) == trades


def test_a_cut_that_nothing_crosses_is_not_reached(teller: Teller) -> None:
    """Goods opens no connection to order: a cut of that proves nothing, and says so."""
    cut = teller.lab.faults.cut("order", "goods", "back", "refused")
    with pytest.raises(NotReached, match="nothing went between order and goods"), cut:
        assert teller.history.place().placed


@pytest.mark.parametrize(
    ("edge", "says"),
    [
        (("order", "shop"), "no service of that name"),
        (("order", "order"), "between two services"),
    ],
)
def test_a_cut_between_nobody_is_refused(teller: Teller, edge: tuple[str, str], says: str) -> None:
    """A cut that does not name two services is refused in one line."""
    with pytest.raises(ValueError, match=says), teller.lab.faults.cut(*edge):
        pass
