"""A customer who repeats each request, under the same key, until its answer is final."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Unpack

import httpx

from labkit.lab.client import Client, OrderFields
from labkit.ops.reader import Reader, Row
from labkit.shop.states import PayStatus
from labkit.waiting import BlockingClock, poll_until

#: A process of another release is no fork: it is imported, and others go first meanwhile.
_FINAL_SECONDS = 60.0
_AGAIN_SECONDS = 0.05
#: Statuses after which a client asks again: not decided, too many requests, a dependency is away.
_NOT_FINAL = (202, 429, 503)


class Unexpected(RuntimeError):
    """A wrong answer or end state of the shop; the message says which, and how it came."""


@dataclass(frozen=True)
class Placed:
    """A request to place an order, and its answer.

    Attributes:
        body: of the request; its address is used once, so that the order's row is found by it.
        key: the Idempotency-Key.
        status: of the HTTP answer; 0 where there was none.
        name: of the code in the answer.
        order_id: of the order, where the answer names one.
    """

    body: OrderFields
    key: str
    status: int = 0
    name: str = ""
    order_id: str | None = None

    @property
    def mark(self) -> str:
        """Return the address, which no other order has."""
        return str(self.body["address"])

    def __hash__(self) -> int:
        return hash(self.key)


class Customer:
    """A client that orders and pays over the shop's public interfaces and keeps the answers.

    Args:
        client: of a lab.
        reader: to look up prices, as a page would show them.
        coupons: ids of the first user's coupons, each for one order.
        clock: what the customer waits by.

    Attributes:
        clock: what the customer waits by.
        placed: the last answer to each request to place an order.
        absent: ids of orders that were answered 404, which is final.
    """

    _numbers = count(1)  # shared: a lab's keys outlive the customer of a cell

    def __init__(
        self, client: Client, reader: Reader, coupons: Iterator[int], clock: BlockingClock = time
    ) -> None:
        self.clock = clock
        self._client = client
        self._reader = reader
        self._coupons = coupons
        self._payments: dict[str, str] = {}
        self.placed: list[Placed] = []
        self.absent: set[str] = set()

    def use_client(self, client: Client) -> None:
        """Send requests with another client, after the lab was started again."""
        self._client = client

    def forget(self, order: Placed) -> None:
        """Stop asking for an order that a reset has removed."""
        self.placed = [placed for placed in self.placed if placed.key != order.key]

    def place(self, **wanted: Unpack[OrderFields]) -> Placed:
        """Place a new order; repeat the request until the answer is final."""
        return self.resend(self._new(wanted))

    def order(self, **wanted: Unpack[OrderFields]) -> Placed:
        """Place an order successfully, for a script that begins with one.

        On a busy machine a call may be late, and its order is cancelled: then place another one.

        Raises:
            Unexpected: no order was placed in time.
        """
        last: list[Placed] = []

        def is_placed() -> bool:
            last[:] = [self.place(**wanted)]
            return last[0].status == 200

        if not poll_until(is_placed, _FINAL_SECONDS, poll=0, clock=self.clock):
            raise Unexpected(f"no order is placed in {_FINAL_SECONDS:.0f} s; last: {last[0]}")
        return last[0]

    def resend(self, order: Placed) -> Placed:
        """Send a request to place an order again, under its key, until the answer is final."""
        answer = self.request(lambda: self._client.place(order.body, order.key), "placing an order")
        answered = _read(order, answer)
        self.placed = [placed for placed in self.placed if placed.key != order.key] + [answered]
        return answered

    def reuse_key(self, other: Placed) -> Placed:
        """Send another request under a used key; its answer is not kept in `placed`."""
        return _read(
            other, self.request(lambda: self._client.place(other.body, other.key), "reusing")
        )

    def place_once(self, **wanted: Unpack[OrderFields]) -> Placed:
        """Send one request to place an order, and accept any answer, or none."""
        request = self._new(wanted)
        try:
            return _read(request, self._client.place(request.body, request.key))
        except httpx.TransportError:
            return request

    def cancel(self, order: Placed) -> None:
        """Cancel an order as its user; repeat the request until it succeeds."""
        user_id = order.body["user_id"]
        self._until_success(lambda: self._client.cancel(_id(order), user_id), order, "cancelling")

    def return_order(self, order: Placed) -> None:
        """Return an order as its user; repeat the request until it succeeds."""
        user_id = order.body["user_id"]
        self._until_success(
            lambda: self._client.return_order(_id(order), user_id), order, "returning"
        )

    def open_payment(self, order: Placed) -> httpx.Response:
        """Open the payment of an order; repeat the request until the answer is final."""
        return self.request(lambda: self._client.create_payment(_id(order)), "opening a payment")

    def open_payment_once(self, order: Placed) -> int:
        """Send one request to open a payment, and accept any answer, or none.

        Returns:
            The status of the answer; 0 where there was none.
        """
        try:
            return self._client.create_payment(_id(order)).status_code
        except httpx.TransportError:
            return 0

    def open_cashier(self, order: Placed) -> str:
        """Open the payment of an order, until that succeeds; return the cashier page's URL."""
        answer = self._until_success(
            lambda: self._client.create_payment(_id(order)), order, "opening a payment"
        )
        payment = answer.json()["data"]
        self._payments[order.key] = payment["pay_id"]
        return str(payment["cashier_url"])

    def press(self, cashier_url: str, button: str = "pay") -> httpx.Response:
        """Press a button of the cashier page."""
        return self.request(lambda: self._client.press(cashier_url, button), f"the button {button}")

    def pay(self, order: Placed) -> None:
        """Pay an order, and wait until the shop shows it as paid."""
        self.press(self.open_cashier(order))
        self.wait_until_paid(order)

    def find(self, order: Placed) -> Row:
        """Read an order as the shop shows it."""
        return dict(self.look_up(_id(order)).json()["data"] or {})

    def look_up(self, order_id: str) -> httpx.Response:
        """Look an order up by its id.

        Raises:
            Unexpected: it exists, and was answered 404 before.
        """
        answer = self.request(lambda: self._client.find(order_id), "looking an order up")
        self._note_absence(order_id, answer)
        return answer

    def find_payment(self, order: Placed) -> Row:
        """Read the payment of an order that was opened last, as the shop shows it."""
        pay_id = self._payments[order.key]
        answer = self.request(lambda: self._client.find_payment(pay_id), "looking a payment up")
        return dict(answer.json()["data"] or {})

    def wait_until_paid(self, order: Placed) -> None:
        """Look an order up until the shop shows it as paid."""
        self.wait_until(
            lambda: self.find(order).get("pay_status") == PayStatus.PAID, "the order says paid"
        )

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until a condition is true.

        Raises:
            Unexpected: it was not in time.
        """
        if not poll_until(condition, _FINAL_SECONDS, _AGAIN_SECONDS, self.clock):
            raise Unexpected(f"not within {_FINAL_SECONDS:.0f} s: {what}")

    def request(self, send: Callable[[], httpx.Response], what: str) -> httpx.Response:
        """Send a request, again until its answer is final.

        Raises:
            Unexpected: no final answer came in time, or it is a 500.
        """
        deadline, last = self.clock.monotonic() + _FINAL_SECONDS, "no answer"
        while self.clock.monotonic() < deadline:
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
            self.clock.sleep(_AGAIN_SECONDS)
        raise Unexpected(f"{what}: no final answer within {_FINAL_SECONDS:.0f} s; last: {last}")

    def _until_success(
        self, send: Callable[[], httpx.Response], order: Placed, what: str
    ) -> httpx.Response:
        """Send a request until it succeeds: a fault may refuse now what is possible a moment later.

        Raises:
            Unexpected: it did not succeed in time.
        """
        deadline = self.clock.monotonic() + _FINAL_SECONDS
        while (answer := self.request(send, what)).status_code != 200:
            self._note_absence(_id(order), answer)
            if self.clock.monotonic() > deadline:
                text = answer.text[:300]
                raise Unexpected(f"not within {_FINAL_SECONDS:.0f} s: {what}; last: {text}")
            self.clock.sleep(_AGAIN_SECONDS)
        return answer

    def _note_absence(self, order_id: str, answer: httpx.Response) -> None:
        """Note a 404, and compare any other answer with an earlier 404, which is final."""
        if answer.status_code == 404:
            self.absent.add(order_id)
        elif order_id in self.absent:
            text = f"answered 404, which is final, and then {answer.status_code}"
            raise Unexpected(f"order {order_id} was {text}: {answer.text[:300]}")

    def _new(self, wanted: OrderFields) -> Placed:
        number = next(self._numbers)
        fields: OrderFields = {**wanted, "address": f"北京 #{number}"}
        if fields.pop("coupon", False):
            fields["coupon_id"] = next(self._coupons)
        body = self._client.body(**fields)
        return Placed(body, key=f"matrix-{number}")


def _id(order: Placed) -> str:
    if order.order_id is None:
        raise Unexpected(f"{order.name or 'no answer'} names no order: {order.body}")
    return order.order_id


def _read(request: Placed, answer: httpx.Response) -> Placed:
    result = answer.json()
    order_id = (result["data"] or {}).get("order_id")
    return Placed(request.body, request.key, answer.status_code, result["name"], order_id)
