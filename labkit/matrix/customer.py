"""A customer who does not give up: asks again, under the same key, until the answer is final."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx

from labkit.lab.client import Client
from labkit.ops.reader import Reader
from labkit.shop.tables import PAID

_FINAL_SECONDS = 20.0
_AGAIN_SECONDS = 0.05
#: Not decided, too many, away: whoever is told so asks again.
_NOT_FINAL = (202, 429, 503)


class Unexpected(RuntimeError):
    """The shop answered, or ended, as it must not; the message says what and how."""


@dataclass(frozen=True)
class Placed:
    """One request to place an order, and its answer.

    Attributes:
        body: what was asked for; its address is its own, by which its row is found.
        key: the Idempotency-Key.
        status: of the HTTP answer; 0 where there was none.
        name: of the code that was answered.
        order_id: of the order, where the answer names one.
    """

    body: dict[str, Any]
    key: str
    status: int = 0
    name: str = ""
    order_id: str | None = None

    @property
    def mark(self) -> str:
        """What no other order bears."""
        return str(self.body["address"])

    def __hash__(self) -> int:
        return hash(self.key)


class Customer:
    """Orders and pays over the shop's public interfaces, and remembers what was answered.

    Args:
        client: of a lab.
        reader: to look up prices, as a page would show them.
        coupons: numbers of the first user's coupons, each for one order.

    Attributes:
        placed: the last answer to each request to place an order.
        absent: the ids of orders of which it was told that there are none: that is final.
    """

    _numbers = count(1)  # shared: a lab's keys outlive the customer of a cell

    def __init__(self, client: Client, reader: Reader, coupons: Iterator[int]) -> None:
        self._client = client
        self._reader = reader
        self._coupons = coupons
        self._payments: dict[str, str] = {}
        self.placed: list[Placed] = []
        self.absent: set[str] = set()

    def talk_to(self, client: Client) -> None:
        """Order at a lab that was started again."""
        self._client = client

    def forget(self, order: Placed) -> None:
        """Ask for an order no more: it went with a reset."""
        self.placed = [one for one in self.placed if one.key != order.key]

    def place(self, *, coupon: bool = False, **wanted: Any) -> Placed:
        """Place an order that nobody placed before, until the answer is final."""
        return self.again(self._new(coupon, wanted))

    def order(self, *, coupon: bool = False, **wanted: Any) -> Placed:
        """An order that is placed, for a story that begins with one.

        Another is placed where a busy machine kept a call waiting until the order was cancelled.

        Raises:
            Unexpected: none was placed in time.
        """
        deadline = time.monotonic() + _FINAL_SECONDS
        while (found := self.place(coupon=coupon, **wanted)).status != 200:
            if time.monotonic() > deadline:
                raise Unexpected(f"no order is placed in {_FINAL_SECONDS:.0f} s; last: {found}")
        return found

    def again(self, before: Placed) -> Placed:
        """Send a request to place an order once more, under its key, until the answer is final."""
        answer = self.ask(lambda: self._client.place(before.body, before.key), "placing an order")
        found = _read(before, answer)
        self.placed = [one for one in self.placed if one.key != found.key] + [found]
        return found

    def refused(self, other: Placed) -> Placed:
        """What another request under a key is answered; it is no order of the customer's."""
        return _read(other, self.ask(lambda: self._client.place(other.body, other.key), "reusing"))

    def place_once(self, *, coupon: bool = False, **wanted: Any) -> Placed:
        """Place an order, and walk away whatever the answer is."""
        request = self._new(coupon, wanted)
        try:
            return _read(request, self._client.place(request.body, request.key))
        except httpx.TransportError:
            return request

    def cancel(self, order: Placed) -> None:
        """Cancel an order as its user, until that is done."""
        user_id = order.body["user_id"]
        self._until_done(lambda: self._client.cancel(_id(order), user_id), order, "cancelling")

    def give_back(self, order: Placed) -> None:
        """Return an order as its user, until that is done."""
        user_id = order.body["user_id"]
        self._until_done(lambda: self._client.give_back(_id(order), user_id), order, "returning")

    def open_payment(self, order: Placed) -> httpx.Response:
        """Open the payment of an order."""
        return self.ask(lambda: self._client.create_payment(_id(order)), "opening a payment")

    def open_payment_once(self, order: Placed) -> int:
        """Open the payment of an order, and walk away whatever the answer is.

        Returns:
            The status of the answer; 0 where there was none.
        """
        try:
            return self._client.create_payment(_id(order)).status_code
        except httpx.TransportError:
            return 0

    def cashier(self, order: Placed) -> str:
        """Where an order is paid: opens its payment, until that is done."""
        answer = self._until_done(
            lambda: self._client.create_payment(_id(order)), order, "opening a payment"
        )
        opened = answer.json()["data"]
        self._payments[order.key] = opened["pay_id"]
        return str(opened["cashier_url"])

    def press(self, cashier_url: str, button: str = "pay") -> httpx.Response:
        """Press a button of the cashier page."""
        return self.ask(lambda: self._client.press(cashier_url, button), f"the button {button}")

    def pay(self, order: Placed) -> None:
        """Pay an order, and wait until the shop says that it is paid."""
        self.press(self.cashier(order))
        self.sees_paid(order)

    def find(self, order: Placed) -> dict[str, Any]:
        """An order as the shop shows it."""
        return dict(self.look_up(_id(order)).json()["data"] or {})

    def look_up(self, order_id: str) -> httpx.Response:
        """Look an order up by its id.

        Raises:
            Unexpected: there is one, and somebody was told before that there is none.
        """
        answer = self.ask(lambda: self._client.find(order_id), "looking an order up")
        self._remember(order_id, answer)
        return answer

    def _remember(self, order_id: str, answer: httpx.Response) -> None:
        """Compare an answer about an order with a final one of before."""
        if answer.status_code == 404:
            self.absent.add(order_id)
        elif order_id in self.absent:
            text = f"answered 404, which is final, and then {answer.status_code}"
            raise Unexpected(f"order {order_id} was {text}: {answer.text[:300]}")

    def find_payment(self, order: Placed) -> dict[str, Any]:
        """The payment of an order that was opened last, as the shop shows it."""
        pay_id = self._payments[order.key]
        found = self.ask(lambda: self._client.find_payment(pay_id), "looking a payment up").json()
        return dict(found["data"] or {})

    def sees_paid(self, order: Placed) -> None:
        """Look an order up until it is paid."""
        self.wait(lambda: self.find(order).get("pay_status") == PAID, "the order says paid")

    def _until_done(
        self, send: Callable[[], httpx.Response], order: Placed, what: str
    ) -> httpx.Response:
        """Ask until it is done: what a fault refused can be done a moment later.

        Raises:
            Unexpected: it was not in time.
        """
        deadline = time.monotonic() + _FINAL_SECONDS
        while (answer := self.ask(send, what)).status_code != 200:
            self._remember(_id(order), answer)
            if time.monotonic() > deadline:
                text = answer.text[:300]
                raise Unexpected(f"not within {_FINAL_SECONDS:.0f} s: {what}; last: {text}")
            time.sleep(_AGAIN_SECONDS)
        return answer

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something is true.

        Raises:
            Unexpected: it was not in time.
        """
        deadline = time.monotonic() + _FINAL_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise Unexpected(f"not within {_FINAL_SECONDS:.0f} s: {what}")
            time.sleep(_AGAIN_SECONDS)

    def ask(self, send: Callable[[], httpx.Response], what: str) -> httpx.Response:
        """Ask until the answer is final.

        Raises:
            Unexpected: it was not in time, or it is a 500.
        """
        deadline, last = time.monotonic() + _FINAL_SECONDS, "no answer"
        while time.monotonic() < deadline:
            try:
                answer = send()
            except httpx.TransportError as error:
                last = type(error).__name__
            else:
                if answer.status_code == 500:
                    raise Unexpected(f"{what} was answered 500: {answer.text[:300]}")
                if answer.status_code not in _NOT_FINAL:
                    return answer
                last = answer.text[:300]
            time.sleep(_AGAIN_SECONDS)
        raise Unexpected(f"{what}: no final answer within {_FINAL_SECONDS:.0f} s; last: {last}")

    def _new(self, coupon: bool, wanted: dict[str, Any]) -> Placed:
        number = next(self._numbers)
        if coupon:
            wanted = {**wanted, "coupon_id": next(self._coupons)}
        body = self._client.body(**wanted, address=f"北京 #{number}")
        return Placed(body, key=f"matrix-{number}")


def _id(order: Placed) -> str:
    if order.order_id is None:
        raise Unexpected(f"{order.name or 'no answer'} names no order: {order.body}")
    return order.order_id


def _read(request: Placed, answer: httpx.Response) -> Placed:
    result = answer.json()
    order_id = (result["data"] or {}).get("order_id")
    return Placed(request.body, request.key, answer.status_code, result["name"], order_id)
