"""Stories: what the customers of a life do."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from labkit.ops.history import RequestKind
from labkit.shop import messages as m
from labkit.sim.customer import Customer

Story = Callable[[Customer], Coroutine[Any, Any, None]]

STORIES: dict[str, Story] = {}
_FIRST_CHECK_S = 0.6  # from the opening of a payment until the shop asks, as `world` sets it
_UNDER_WAY_S = 0.004  # in which a request has come to a service, and has no answer yet


class NoSuchStory(ValueError):
    """A name that no story has; the message says which there are."""


def story(function: Story) -> Story:
    """Add a story, under its function's name with hyphens."""
    STORIES[function.__name__.strip("_").replace("_", "-")] = function
    return function


async def _placed(customer: Customer, order: m.PlaceOrder) -> int | None:
    """Place an order, and return its id; None if it was not placed."""
    answer = await customer.place(order)
    return int(answer.data["order_id"]) if answer.success else None


@story
async def accepted(customer: Customer) -> None:
    """Place an order that takes stock, a coupon and balance; never pay it."""
    await _placed(customer, customer.order(money_paid=1_23, coupon=True))


@story
async def paid(customer: Customer) -> None:
    """Place an order, and pay it at the cashier."""
    order_id = await _placed(customer, customer.order(money_paid=1_23))
    if order_id and await customer.pay(order_id):
        await customer.wait_until_decided(order_id)


@story
async def accepted_paid(customer: Customer) -> None:
    """Place an order that the balance pays whole, at once."""
    order = customer.order()
    order_id = await _placed(customer, order.model_copy(update={"money_paid": order.order_amount}))
    if order_id:
        await customer.wait_until_decided(order_id)


@story
async def cancelled(customer: Customer) -> None:
    """Place an order, and cancel it."""
    order_id = await _placed(customer, customer.order(money_paid=1_23, coupon=True))
    if order_id:
        await customer.cancel(order_id)


@story
async def paid_and_cancelled(customer: Customer) -> None:
    """Pay an order and cancel it at the same time."""
    order_id = await _placed(customer, customer.order(money_paid=1_23, coupon=True))
    if order_id is None:
        return
    opened = await customer.open_payment(order_id)
    work: list[Awaitable[object]] = [customer.cancel(order_id)]
    if opened.success:
        work.append(customer.press(opened.data["cashier_url"], RequestKind.PAY))
    await asyncio.gather(*work)


@story
async def opened_and_cancelled(customer: Customer) -> None:
    """Open a payment, cancel its order meanwhile, and pay it if that can be done."""
    order_id = await _placed(customer, customer.order(money_paid=1_23))
    if order_id is None:
        return
    paying = asyncio.ensure_future(customer.pay(order_id))
    await asyncio.sleep(_UNDER_WAY_S)
    await asyncio.gather(customer.cancel(order_id), paying)


@story
async def returned(customer: Customer) -> None:
    """Return a paid order, whose money is refunded."""
    order_id = await _placed(customer, customer.order(money_paid=1_23, coupon=True))
    if order_id and await customer.pay(order_id):
        await customer.wait_until_decided(order_id)
        await customer.return_order(order_id)


@story
async def paid_late(customer: Customer) -> None:
    """Sit at the cashier until the shop asks the platform by itself, and pay at that moment."""
    order_id = await _placed(customer, customer.order(money_paid=1_23))
    if order_id is None:
        return
    opened = await customer.open_payment(order_id)
    await asyncio.sleep(_FIRST_CHECK_S)
    if opened.success:
        await customer.press(opened.data["cashier_url"], RequestKind.PAY)
        await customer.wait_until_decided(order_id)


@story
async def given_up(customer: Customer) -> None:
    """Give a payment up at the cashier, open it anew and pay it."""
    order_id = await _placed(customer, customer.order(money_paid=1_23))
    if order_id is None:
        return
    opened = await customer.open_payment(order_id)
    if opened.success:
        await customer.press(opened.data["cashier_url"], RequestKind.GIVE_UP)
    if not await customer.pay(order_id):  # the shop had not heard yet
        await asyncio.sleep(1)
        await customer.pay(order_id)


@story
async def repeated(customer: Customer) -> None:
    """Send the same request twice at once, and once more."""
    order = customer.order(money_paid=1_23, coupon=True)
    await asyncio.gather(customer.place(order), customer.place(order))
    await customer.place(order)


@story
async def looked_for(customer: Customer) -> None:
    """Look for an order as it is placed, and once more a second later."""
    answer = await customer.place_once(customer.order(money_paid=1_23))
    if order_id := int(answer.data.get("order_id") or 0):
        await customer.find(order_id)
        await asyncio.sleep(1)
        await customer.find(order_id)


@story
async def abandoned(customer: Customer) -> None:
    """Send one request to place an order, and never come back."""
    await customer.place_once(customer.order(money_paid=1_23, coupon=True))


@story
async def cancelled_open(customer: Customer) -> None:
    """Cancel an order with its payment open, and pay that all the same if it can be done."""
    order_id = await _placed(customer, customer.order(money_paid=1_23))
    if order_id is None:
        return
    opened = await customer.open_payment(order_id)
    await customer.cancel(order_id)
    if opened.success:
        await customer.press(opened.data["cashier_url"], RequestKind.PAY)


@story
async def cheating(customer: Customer) -> None:
    """Somebody asks for less than nothing, for less than it costs, and under a used key."""
    order = customer.order(money_paid=1_23)
    await customer.place(order)
    price = order.goods_price
    for change in (
        {"goods_number": -1, "order_amount": order.order_amount - 2 * price},
        {"goods_number": 0, "order_amount": order.order_amount - price},
        {"order_amount": order.order_amount - 1},
        {"money_paid": -1_00},
        {"money_paid": order.order_amount + 1},
        {"shipping_fee": 0, "order_amount": price},
    ):
        await customer.place(order.model_copy(update=change))  # under the same key
        await customer.place(customer.order().model_copy(update=change))


@story
async def wanted_by_many(customer: Customer) -> None:
    """Three orders at once want the same coupon, and more than half of the balance each."""
    first = customer.order(coupon=True)
    wanted = [first, *(customer.order() for _ in range(2))]
    share = {"coupon_id": first.coupon_id, "money_paid": first.order_amount - 21_00}
    await asyncio.gather(*(customer.place(order.model_copy(update=share)) for order in wanted))


@story
async def last_pieces(customer: Customer) -> None:
    """Three orders at once want more than there is, two of them just so much."""
    await asyncio.gather(*(customer.place(customer.order(pieces=3)) for _ in range(3)))


@story
async def spent_at_once(customer: Customer) -> None:
    """Two orders at once want more than half of the balance each."""
    wanted = [customer.order() for _ in range(2)]
    await asyncio.gather(
        *(
            customer.place(order.model_copy(update={"money_paid": order.order_amount}))
            for order in wanted
        )
    )


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of stories.

    Raises:
        NoSuchStory: one of them is none.
    """
    for name in names:
        if name not in STORIES:
            raise NoSuchStory(f"there is no story {name!r}; there are {', '.join(STORIES)}")
    return tuple(names)
