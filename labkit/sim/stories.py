"""Stories: what the customers of a life do."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from labkit.ops.history import RequestKind
from labkit.shop import messages as m
from labkit.sim.customer import Customer

Story = Callable[[Customer], Coroutine[Any, Any, None]]

STORIES: dict[str, Story] = {}


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
    """An order takes stock, a coupon and balance, and is never paid."""
    await _placed(customer, customer.order(money_paid=1_23, coupon=True))


@story
async def paid(customer: Customer) -> None:
    """An order is placed and paid at the cashier."""
    order_id = await _placed(customer, customer.order(money_paid=1_23))
    if order_id and await customer.pay(order_id):
        await customer.wait_until_decided(order_id)


@story
async def accepted_paid(customer: Customer) -> None:
    """An order that its user's balance pays whole is placed and paid at once."""
    order = customer.order()
    order_id = await _placed(customer, order.model_copy(update={"money_paid": order.order_amount}))
    if order_id:
        await customer.wait_until_decided(order_id)


@story
async def cancelled(customer: Customer) -> None:
    """An order is cancelled by its user."""
    order_id = await _placed(customer, customer.order(money_paid=1_23, coupon=True))
    if order_id:
        await customer.cancel(order_id)


@story
async def paid_and_cancelled(customer: Customer) -> None:
    """An order is paid and cancelled at the same time."""
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
    """A payment is opened while its order is cancelled, and is paid if it can be."""
    order_id = await _placed(customer, customer.order(money_paid=1_23))
    if order_id:
        await asyncio.gather(customer.cancel(order_id), customer.pay(order_id))


@story
async def returned(customer: Customer) -> None:
    """A paid order is returned, and its money refunded."""
    order_id = await _placed(customer, customer.order(money_paid=1_23, coupon=True))
    if order_id and await customer.pay(order_id):
        await customer.wait_until_decided(order_id)
        await customer.return_order(order_id)


@story
async def given_up(customer: Customer) -> None:
    """A payment is given up at the cashier, opened anew and paid."""
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
    """The same request is sent twice at once, and once more."""
    order = customer.order(money_paid=1_23, coupon=True)
    await asyncio.gather(customer.place(order), customer.place(order))
    await customer.place(order)


@story
async def looked_for(customer: Customer) -> None:
    """An order is looked for as it is placed; its user asks once, and goes by what is found."""
    answer = await customer.place_once(customer.order(money_paid=1_23))
    if order_id := int(answer.data.get("order_id") or 0):
        await customer.find(order_id)
        await asyncio.sleep(1)
        await customer.find(order_id)


@story
async def abandoned(customer: Customer) -> None:
    """An order is placed by somebody who sends one request, and never comes back."""
    await customer.place_once(customer.order(money_paid=1_23, coupon=True))


@story
async def cancelled_open(customer: Customer) -> None:
    """An order is cancelled with its payment open, which its user pays all the same, if he can."""
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


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of stories.

    Raises:
        NoSuchStory: one of them is none.
    """
    for name in names:
        if name not in STORIES:
            raise NoSuchStory(f"there is no story {name!r}; there are {', '.join(STORIES)}")
    return tuple(names)
