"""A client that orders and pays over HTTP, with the figures that a client works out."""

from collections.abc import Mapping
from typing import TypedDict, Unpack
from uuid import uuid4

import httpx

from labkit.ops.history import READ_ONLY, Exchange, History, RequestKind
from labkit.ops.reader import Reader, Row
from labkit.shop.order.pricing import shipping_fee

_TIMEOUT_S = 15.0
_ID_DIGITS = 19  # a longer number is no id


class OrderFields(TypedDict, total=False):
    """Fields of a request to place an order; `coupon=True` takes the user's first unused coupon."""

    user_id: int
    goods_id: int
    goods_number: int
    goods_price: int
    shipping_fee: int
    order_amount: int
    money_paid: int
    coupon_id: int | None
    address: str
    consignee: str
    coupon: bool


class Client:
    """A client of the webs of a lab, and of the payment platform's cashier.

    Args:
        endpoints: of the webs, as `launch.status` names them.
        reader: to look up prices and first ids, as a shop's page would show them.

    Attributes:
        http: sends requests; a path goes to the order web.
    """

    def __init__(self, endpoints: Mapping[str, str], reader: Reader) -> None:
        self.http = httpx.Client(
            base_url=endpoints["order-web"], timeout=_TIMEOUT_S, trust_env=False
        )
        self._pay_web = endpoints["pay-web"]
        self._reader = reader
        self._history = History(reader.home)

    def body(self, **wanted: Unpack[OrderFields]) -> OrderFields:
        """Make a request to place an order; the defaults are those of the first user and goods.

        Args:
            wanted: any field of the request; `coupon=True` takes the user's first unused coupon.
        """
        coupon = wanted.pop("coupon", False)
        goods = self._find_or_first("trade_goods", "goods_id", wanted.get("goods_id"))
        user = self._find_or_first("trade_user", "user_id", wanted.get("user_id"))
        number, price = wanted.get("goods_number", 1), goods["goods_price"]
        fee = shipping_fee(price * number)
        body: OrderFields = {
            "user_id": user["user_id"],
            "goods_id": goods["goods_id"],
            "goods_number": number,
            "goods_price": price,
            "shipping_fee": fee,
            "order_amount": price * number + fee,
            "money_paid": 0,
            "coupon_id": self._coupon(user["user_id"]) if coupon else None,
            "address": "北京",
            "consignee": user["user_name"],
        }
        return {**body, **wanted}

    @property
    def history(self) -> list[Exchange]:
        """Return the recorded requests of all clients of the lab, with their answers."""
        return self._history.exchanges()

    def place(self, body: OrderFields, key: str | None = None) -> httpx.Response:
        """Send `POST /order/confirm`; where a history is recorded it always has a key."""
        if key is None and self._history.is_recording:
            key = f"kept-{uuid4().hex}"
        return self._send(RequestKind.PLACE, "/order/confirm", body=body, key=key)

    def find(self, order_id: int | str) -> httpx.Response:
        """Send `GET /order/{order_id}`."""
        return self._send(RequestKind.FIND, f"/order/{order_id}", order_id)

    def cancel(self, order_id: int | str, user_id: int | str) -> httpx.Response:
        """Send `POST /order/{order_id}/cancel`."""
        body = {"user_id": user_id}
        return self._send(RequestKind.CANCEL, f"/order/{order_id}/cancel", order_id, body=body)

    def return_order(self, order_id: int | str, user_id: int | str) -> httpx.Response:
        """Send `POST /order/{order_id}/return`."""
        body = {"user_id": user_id}
        return self._send(RequestKind.RETURN, f"/order/{order_id}/return", order_id, body=body)

    def create_payment(self, order_id: int | str) -> httpx.Response:
        """Send `POST /pay/createPayment`."""
        url, body = f"{self._pay_web}/pay/createPayment", {"order_id": order_id}
        return self._send(RequestKind.OPEN_PAYMENT, url, order_id, body=body)

    def find_payment(self, pay_id: int | str) -> httpx.Response:
        """Send `GET /pay/{pay_id}`."""
        return self._send(RequestKind.FIND_PAYMENT, f"{self._pay_web}/pay/{pay_id}", pay_id)

    def press(self, cashier_url: str, button: str) -> httpx.Response:
        """Press a button of the cashier page: `pay` or `give-up`."""
        return self._send(RequestKind(button), f"{cashier_url}/{button}", cashier_url)

    def _send(
        self,
        kind: RequestKind,
        url: str,
        subject: int | str = "",
        *,
        body: Mapping[str, object] | None = None,
        key: str | None = None,
    ) -> httpx.Response:
        """Send a request; record it with its answer where a history is recorded."""
        method = "GET" if kind in READ_ONLY else "POST"
        headers = {"Idempotency-Key": key} if key else {}

        def send() -> httpx.Response:
            return self.http.request(method, url, json=body, headers=headers)

        return self._history.record(kind, send, subject=str(subject), key=key, body=body or {})

    def _find_or_first(self, table: str, key: str, wanted: object) -> Row:
        """Read the row with a key; the first row of the table where there is none."""
        number = str(wanted)
        is_id = number.isdecimal() and len(number) < _ID_DIGITS
        row = self._reader.first(table, **{key: int(number)}) if is_id else None
        return row or self._reader.page(table, 1)[0]

    def _coupon(self, user_id: int) -> int | None:
        row = self._reader.first("trade_coupon", user_id=user_id, is_used=0)
        return int(row["coupon_id"]) if row else None
