"""Stories of orders: races for what is scarce, ends that come too late, refusals."""

from concurrent.futures import ThreadPoolExecutor
from typing import Unpack

from sqlalchemy import text

from course.bugs.stories.story import IS_DECIDED, hits, story
from labkit.lab.client import OrderFields
from labkit.matrix.context import ScenarioContext
from labkit.matrix.customer import Placed, Unexpected
from labkit.matrix.scenario import (
    IS_ABSENT,
    IS_CANCELLED,
    IS_PAID,
    IS_PLACED,
    Script,
    States,
)

#: A lab opens with a million pieces and 10^11 cents of each of two users: three such orders fit.
_MUCH_STOCK, _MUCH_MONEY = 250_000, 3 * 10**10
_ITS_PIECES = 60_000  # which cost as much
_SECOND_USER = 2
#: Crossed by an order once it was checked against what there is.
_CHECKED = "order.save_pre_order.after_commit"
_RACERS = 8
#: Seconds for which each is held up before it takes, so that all the others have been checked too.
_HELD = "delay:1.2"


def _race(
    context: ScenarioContext, buyers: int, placed: States, **wanted: Unpack[OrderFields]
) -> dict[Placed, States]:
    """So many order the same at once; whoever is answered 200 has it, and ends as `placed`."""
    with ThreadPoolExecutor(buyers) as pool:
        orders = list(pool.map(lambda _: context.customer.place(**wanted), range(buyers)))
    return {order: placed if order.status == 200 else IS_DECIDED for order in orders}


def _race_for_the_last(
    context: ScenarioContext, placed: States = IS_PLACED, **wanted: Unpack[OrderFields]
) -> dict[Placed, States]:
    """Eight order what is not there for all; each is held until all were checked, and takes then.

    Raises:
        Unexpected: one was late, and was checked when others had taken: that is no race.
    """
    context.needs_reset = True
    before = hits(context, _CHECKED)
    with context.lab.faults.armed(_CHECKED, _HELD, times=_RACERS):
        orders = _race(context, _RACERS, placed, **wanted)
    racing = hits(context, _CHECKED) - before
    if racing < _RACERS:
        raise Unexpected(f"only {racing} of {_RACERS} met in this race: play it again")
    return orders


@story("last-pieces", "eight buy at once what is there three times")
def last_pieces(context: ScenarioContext) -> Script:
    """Race for stock."""
    yield
    return _race_for_the_last(context, goods_number=_MUCH_STOCK)


@story("one-coupon", "eight orders want one coupon at once")
def one_coupon(context: ScenarioContext) -> Script:
    """Race for a coupon that each saw unused."""
    first = context.customer.order(coupon=True).body["coupon_id"]
    assert first
    coupon_id = first + 2  # the user's next one
    yield
    return _race_for_the_last(context, coupon_id=coupon_id)


@story("one-balance", "eight orders spend at once what a user has three times")
def one_balance(context: ScenarioContext) -> Script:
    """Race for a balance."""
    yield
    wanted = OrderFields(user_id=_SECOND_USER, goods_number=_ITS_PIECES, money_paid=_MUCH_MONEY)
    return _race_for_the_last(context, IS_PAID, **wanted)


@story("rush", "32 buy at once, each a piece, each with some balance")
def rush(context: ScenarioContext) -> Script:
    """Many who do not stand in each other's way."""
    yield
    first, then = (_race(context, 32, IS_PLACED, money_paid=1_00) for _ in range(2))
    return first | then


@story("some-cents", "an order is paid with 1.50 of the balance")
def some_cents(context: ScenarioContext) -> Script:
    """Money that is no whole yuan."""
    yield
    return {context.customer.order(money_paid=1_50): IS_PLACED}


@story("with-shipping", "an order so small that its shipping is charged")
def with_shipping(context: ScenarioContext) -> Script:
    """Cheap goods."""
    cheap = text("UPDATE trade_goods SET goods_price = goods_price / 100")
    dear = text("UPDATE trade_goods SET goods_price = goods_price * 100")
    yield
    with context.lab.database("goods") as goods:
        goods.execute(cheap)
    try:
        order = context.customer.order()
        if order.body["shipping_fee"] == 0:
            raise Unexpected(f"nothing is charged for shipping: {order.body}")
    finally:
        with context.lab.database("goods") as goods:
            goods.execute(dear)
    return {order: IS_PLACED}


@story("cancelled-when-paid", "a user wants to cancel a paid order, which is not done")
def cancelled_when_paid(context: ScenarioContext) -> Script:
    """Cancel an order too late."""
    order = context.customer.order(money_paid=1_00)
    context.customer.pay(order)
    yield
    client, user_id = context.lab.client, order.body["user_id"]
    context.customer.request(lambda: client.cancel(str(order.order_id), user_id), "cancelling")
    return {order: IS_PAID}


@story("two-who-cancel", "a flow cancels its order after the sweeper has found it, and before that")
def two_who_cancel(context: ScenarioContext) -> Script:
    """Cancel an order late, and let a sweeper do it later still."""
    ended = "order.cancel_expired.after_commit"
    before = hits(context, ended)
    yield
    context.inject("order.confirm_pre_order.before_commit", "refuse")
    context.inject("order.cancel_failed.before_commit", "delay:4.5")
    context.inject("order.cancel_expired.before_commit", "delay:2.2")
    order = context.customer.place(money_paid=1_00)
    context.customer.wait_until(
        lambda: hits(context, ended) > before, "the sweeper has done what it wanted"
    )
    return {order: IS_CANCELLED}


@story("clock-back", "an order is not found in its time, and then its service's clock steps back")
def clock_back(context: ScenarioContext) -> Script:
    """Hang a flow, tell its user 404, and set the clock back to when it was early after all."""
    saving = "order.save_pre_order.before_commit"
    before = hits(context, saving)
    yield
    context.inject("order.find_goods.after_call", "delay:8")
    order = context.customer.place_once(money_paid=1_00)
    if order.order_id is None:
        raise Unexpected(f"the answer names no order: {order}")
    context.customer.look_up(order.order_id)
    with context.lab.faults.clock_stepped("order", -30):
        context.customer.wait_until(lambda: hits(context, saving) > before, "the flow goes on")
    return {order: IS_ABSENT}


@story("refused-for-good", "an order is refused for a used coupon, and asked for when it is free")
def refused_for_good(context: ScenarioContext) -> Script:
    """Refuse an order, and let its customer ask again under the key."""
    first = context.customer.order(coupon=True)
    yield
    refused = context.customer.place(coupon_id=first.body["coupon_id"])
    context.customer.cancel(first)
    context.customer.wait_until(
        lambda: "coupon" in context.inbox_rows("order_cancel", first), "the coupon is back"
    )
    return {first: IS_CANCELLED, refused: IS_ABSENT}


@story("unsaved", "an order cannot be saved, and is asked for again when it could be")
def unsaved(context: ScenarioContext) -> Script:
    """Refuse an order by no rule: that is final as well."""
    yield
    context.inject("order.save_pre_order.before_commit", "refuse")
    return {context.customer.place(money_paid=1_00): IS_ABSENT}
