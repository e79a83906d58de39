"""Customers of a life: they order and pay, and repeat what has no final answer."""

import asyncio
from collections.abc import Iterator

from labkit.ops.history import RequestKind
from labkit.shop import messages as m
from labkit.shop.order.pricing import shipping_fee
from labkit.shop.states import OrderStatus, PayStatus
from labkit.sim.first_rows import COUPONS, GOODS, USERS
from labkit.sim.front import Answer, Send, ShopFront

_AGAIN_S, _LONGEST_S = 0.02, 1.0  # after which a client asks again, at first and in the end
_PATIENCE_S = 90.0  # longer than anything is late
#: Statuses after which a client asks again: not decided, too many requests, a dependency is away.
_NOT_FINAL = (0, 202, 429, 503)
_DEFECT = 500


class NoFinalAnswer(Exception):
    """The end of a client who was answered nothing final while everything must have ended."""


class Customer:
    """One customer.

    Args:
        front: of the shop.
        number: of the customer, from 0.
    """

    def __init__(self, front: ShopFront, number: int) -> None:
        self._front = front
        self._user = USERS[number % len(USERS)]
        self._number = number
        self._orders = 0
        self._coupons = iter(
            [
                coupon["coupon_id"]
                for coupon in COUPONS
                if coupon["user_id"] == self._user["user_id"]
            ]
        )

    def order(self, *, pieces: int = 1, money_paid: int = 0, coupon: bool = False) -> m.PlaceOrder:
        """Return a request to place an order.

        Args:
            pieces: how many are ordered.
            money_paid: cents from the balance.
            coupon: whether it uses the customer's next coupon.
        """
        goods = GOODS[0]
        price, amount = goods["goods_price"], pieces * goods["goods_price"]
        self._orders += 1
        return m.PlaceOrder(
            user_id=self._user["user_id"],
            goods_id=goods["goods_id"],
            goods_number=pieces,
            goods_price=price,
            shipping_fee=shipping_fee(amount),
            order_amount=amount + shipping_fee(amount),
            money_paid=money_paid,
            coupon_id=next(self._coupons, None) if coupon else None,
            address=f"北京 {self._number}.{self._orders}",
            consignee=self._user["user_name"],
        )

    async def place(self, order: m.PlaceOrder) -> Answer:
        """Place an order; repeat the request until the answer is final."""
        return await self._until_final(lambda: self.place_once(order))

    async def place_once(self, order: m.PlaceOrder) -> Answer:
        """Send one request to place an order, and take any answer."""
        return await self._front.place(f"order-{order.address.partition(' ')[2]}", order)

    async def find(self, order_id: int) -> Answer:
        """Look an order up."""
        return await self._until_final(lambda: self._front.find(order_id))

    async def cancel(self, order_id: int) -> Answer:
        """Cancel an order, if that can be done."""
        return await self._until_final(lambda: self._front.cancel(order_id, self._user["user_id"]))

    async def return_order(self, order_id: int) -> Answer:
        """Return an order, if that can be done."""
        user_id = self._user["user_id"]
        return await self._until_final(lambda: self._front.return_order(order_id, user_id))

    async def open_payment(self, order_id: int) -> Answer:
        """Open the payment of an order, if that can be done."""
        return await self._until_final(lambda: self._front.open_payment(order_id))

    async def press(self, cashier_url: str, button: RequestKind) -> Answer:
        """Press a button of the cashier page."""
        return await self._until_final(lambda: self._front.press(cashier_url, button))

    async def pay(self, order_id: int) -> bool:
        """Open the payment of an order and pay it; return False if it cannot be paid."""
        opened = await self.open_payment(order_id)
        if not opened.success:
            return False
        return (await self.press(opened.data["cashier_url"], RequestKind.PAY)).success

    async def wait_until_decided(self, order_id: int) -> None:
        """Look an order up until it shows as paid, or has ended.

        Raises:
            NoFinalAnswer: it does not in time.
        """
        for wait_s in _waits():
            order = (await self.find(order_id)).data
            if order and (
                order.get("pay_status") == PayStatus.PAID
                or order.get("order_status") != OrderStatus.CONFIRMED
            ):
                return
            await asyncio.sleep(wait_s)
        raise NoFinalAnswer(f"order {order_id} is neither paid nor ended")

    async def _until_final(self, send: Send) -> Answer:
        """Send a request, again until its answer is final.

        Raises:
            NoFinalAnswer: none came in time.
        """
        answer = Answer()
        for wait_s in _waits():
            answer = await send()
            if answer.status == _DEFECT:
                break
            if answer.status not in _NOT_FINAL:
                return answer
            await asyncio.sleep(wait_s)
        raise NoFinalAnswer(f"the last answer was {answer}")


def _waits() -> Iterator[float]:
    """Yield how long a client waits each time before it asks again, until it gives up."""
    wait_s, waited_s = _AGAIN_S, 0.0
    while waited_s < _PATIENCE_S:
        yield wait_s
        waited_s += wait_s
        wait_s = min(2 * wait_s, _LONGEST_S)
