"""Paying as a client does, every answer remembered: part of the history (history.py)."""

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx

from labkit.ops.history import Exchange, RequestKind
from labkit.shop.codes import Code


@dataclass(frozen=True)
class Opened:
    """One createPayment, and what its client was answered; status 0 is a transport error."""

    order_id: int
    status: int = 0
    name: str = ""
    pay_id: int | None = None
    pay_amount: int = 0
    cashier_url: str = ""

    @property
    def open(self) -> bool:
        return self.status == 200


class Payer:
    """Opens payments and presses the buttons of their cashier pages.

    Attributes:
        opened: what was answered to each createPayment.
        pressed: pay id → button and HTTP status of each press; 0 is a transport error.
    """

    http: httpx.Client
    pay_web: str

    def forget_payments(self) -> None:
        """Begin anew."""
        self.opened: list[Opened] = []
        self.pressed: dict[int, list[tuple[str, int]]] = defaultdict(list)

    def create(self, order_id: int | str | None) -> Opened:
        """createPayment of an order."""
        payment = Opened(int(order_id or 0))
        try:
            body = {"order_id": str(order_id)}
            response = self.http.post(f"{self.pay_web}/pay/createPayment", json=body)
        except httpx.TransportError as error:
            payment = Opened(payment.order_id, name=type(error).__name__)
        else:
            payment = _read(payment.order_id, response)
        self.opened.append(payment)
        return payment

    def press(self, opened: Opened, button: str = "pay") -> int:
        """Press a button of the cashier page, `pay` or `give-up`: the HTTP status."""
        assert opened.pay_id, opened
        status = 0
        with suppress(httpx.TransportError):
            status = self.http.post(f"{opened.cashier_url}/{button}").status_code
        self.pressed[opened.pay_id].append((button, status))
        assert status != 500
        return status

    def pay(self, order_id: int | str | None) -> Opened:
        """Open the payment of an order and pay it; asked again while a service is away."""
        for _ in range(20):
            opened = self.create(order_id)
            if opened.status not in (0, 503):
                break
        if opened.open:
            self.press(opened)
        return opened

    def pay_all(self, orders: list[int], clients: int) -> list[Opened]:
        """Pay many orders, so many at once."""
        with ThreadPoolExecutor(clients) as pool:
            return list(pool.map(self.pay, orders))

    def told_of_payments(self) -> list[Exchange]:
        """Return what was told of payments, as labkit's own history would have it."""
        opened = [
            Exchange(
                RequestKind.OPEN_PAYMENT,
                f"opened {number}",
                str(payment.order_id),
                status=payment.status,
                code=Code.__members__.get(payment.name, 0),
                name=payment.name,
                data={"pay_id": payment.pay_id, "pay_amount": payment.pay_amount},
            )
            for number, payment in enumerate(self.opened)
        ]
        presses = [(pay_id, *press) for pay_id, made in self.pressed.items() for press in made]
        return opened + [
            Exchange(
                RequestKind(button), f"pressed {number}", status=status, data={"pay_id": pay_id}
            )
            for number, (pay_id, button, status) in enumerate(presses)
        ]

    def find_payment(self, pay_id: int | None) -> dict[str, Any]:
        """A payment as the shop shows it."""
        view: dict[str, Any] = self.http.get(f"{self.pay_web}/pay/{pay_id}").json()["data"]
        return view


def _read(order_id: int, response: httpx.Response) -> Opened:
    result = response.json()
    assert response.status_code != 500, result
    assert set(result) == {"success", "code", "name", "message", "data"}, result
    assert result["success"] == (response.status_code == 200), result
    data = result["data"] if result["success"] else {}
    pay_id = data.get("pay_id")
    assert pay_id is None or isinstance(pay_id, str), "64-bit ids are strings in answers"
    return Opened(
        order_id,
        response.status_code,
        result["name"],
        pay_id and int(pay_id),
        data.get("pay_amount", 0),
        data.get("cashier_url", ""),
    )
