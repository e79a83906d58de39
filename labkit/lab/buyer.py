"""A user of the shop who orders, pays, cancels and returns over HTTP."""

from collections.abc import Mapping
from typing import Unpack

from labkit.lab.client import Client, OrderFields
from labkit.lab.display.answer import Answer
from labkit.lab.lab_tables import LabTables
from labkit.ops.reader import Reader


class Buyer:
    """Places and pays orders, and shows the answers with short names for ids.

    Args:
        endpoints: of the webs, as `launch.status` names them.
        reader: of the lab's databases.

    Attributes:
        client: sends the requests.
    """

    def __init__(self, endpoints: Mapping[str, str], reader: Reader) -> None:
        self._reader = reader
        self._tables = LabTables(reader)
        self.client = Client(endpoints, reader)

    def order(self, *, key: str | None = None, **wanted: Unpack[OrderFields]) -> Answer:
        """Place an order over HTTP (下单).

        Args:
            key: the Idempotency-Key.
            wanted: any field of the request; `coupon=True` uses the user's first unused coupon.
        """
        return Answer(self.client.place(self.client.body(**wanted), key), self.alias)

    def create_payment(self, order_id: int | str) -> Answer:
        """Open the payment of an order (支付); the answer has the cashier's address."""
        return Answer(self.client.create_payment(order_id), self.alias)

    def pay(self, order_id: int | str) -> Answer:
        """Pay for an order: open its payment, and press pay at the platform's cashier.

        Returns:
            The cashier's answer; the shop's, where it did not open a payment.
        """
        return self._press(order_id, "pay")

    def give_up(self, order_id: int | str) -> Answer:
        """Open an order's payment, and give it up at the platform's cashier."""
        return self._press(order_id, "give-up")

    def cancel(self, order_id: int | str) -> Answer:
        """Cancel an unpaid order, as its user."""
        return Answer(self.client.cancel(order_id, self._user_of(order_id)), self.alias)

    def return_order(self, order_id: int | str) -> Answer:
        """Return a paid order in full (退货), as its user."""
        return Answer(self.client.return_order(order_id, self._user_of(order_id)), self.alias)

    def alias(self, text: str) -> str:
        """Replace the ids in a text by their short names."""
        return self._tables.alias(text)

    def _press(self, order_id: int | str, button: str) -> Answer:
        payment = self.create_payment(order_id)
        if payment.cashier_url is None:
            return payment
        return Answer(self.client.press(payment.cashier_url, button), self.alias)

    def _user_of(self, order_id: int | str) -> int:
        row = self._reader.first("trade_order", order_id=int(order_id))
        return int(row["user_id"]) if row else 1
