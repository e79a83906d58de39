"""Interleavings of the events of one paid order, to try every order of them.

The order is confirmed; it took a piece, a coupon and 100.00 from the balance, and its user has paid
the rest at the platform. The shop does not know that yet.
"""

import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Self

from labkit.lab.display.columns import CODE_LABELS
from labkit.lab.display.frames import Table
from labkit.lab.inprocess.shop import InProcessShop
from labkit.payment_api import keys
from labkit.payment_api.signing import signed
from labkit.payment_api.trade_status import TradeStatus
from labkit.shop import messages as m
from labkit.shop.order import flows as placing
from labkit.shop.order import steps
from labkit.shop.order.pricing import shipping_fee
from labkit.shop.pay import flows, polling
from labkit.shop.pay import messages as p
from labkit.stack.setup.seeds import first_data

_BUYER, _GOODS, _COUPON = (first_data(name)[0] for name in ("users", "goods", "coupons"))
_FROM_BALANCE = 100_00
_TIME_TO_PAY = timedelta(minutes=15)
_NEXT_TRY_MS = 20_000  # longer than any retry is postponed


class Interleaving:
    """One order whose life, from its payment on, can be run again and again.

    Attributes:
        order_id: of the order.
        pay_amount: cents that its user has paid at the platform.
        events: name → runs the event.
    """

    def __init__(self, shop: InProcessShop, order_id: int, opened: p.PaymentOpened) -> None:
        self._shop = shop
        self._order, self._pay = shop.services["order"], shop.services["pay"]
        self.order_id, self.pay_amount = order_id, opened.pay_amount
        self._callback = p.Callback(
            fields=tuple(
                signed(
                    shop.key,
                    {
                        "app_id": keys.APP_ID,
                        "notify_id": "1",
                        "out_trade_no": str(opened.pay_id),
                        "total_amount": str(opened.pay_amount),
                        "trade_no": "1",
                        "trade_status": TradeStatus.TRADE_SUCCESS,
                    },
                ).items()
            )
        )
        self.events: Mapping[str, Callable[[], Awaitable[None]]] = {
            "callback": self._call_back,
            "second callback": self._call_back,
            "query": self._query,
            "cancel": self._cancel,
            "time-out": self._time_out,
            "refund answer": self._refund,
        }
        shop.save()

    @classmethod
    async def begin(cls) -> Self:
        """Place the order, and pay it at the platform."""
        shop = InProcessShop()
        opening = m.OpenOrder(user_id=_BUYER["user_id"], idempotency_key="k", request_hash="h")
        order = shop.services["order"]
        order_id = (await order.run(steps.open_order, opening)).data.order_id
        command = m.ConfirmOrder(order_id=order_id, request=_request())
        await placing.confirm_order(order, command)
        payment = p.CreatePayment(order_id=order_id)
        opened = await flows.create_payment(shop.services["pay"], payment)
        assert opened.data, opened.message
        return cls(shop, order_id, opened.data)

    async def live(self, events: Sequence[str], *, late: bool = False) -> dict[str, object]:
        """Run one life, from the payment through these events until nothing is in flight.

        Args:
            events: names of events, in the order in which they come.
            late: messages between services wait until all events are over, and the newest goes
                first; otherwise they are delivered before the next event.

        Returns:
            The end: the order's states, the money, and what each service has.
        """
        self._shop.restore()
        for event in events:
            await self.events[event]()
            if not late:
                await self._shop.deliver()
        delivered = 1
        while delivered:  # a query and a refund may be due, and messages that they cause
            await self._query()
            await self._refund()
            delivered = await self._shop.deliver(newest_first=late)
        return self._end()

    async def _call_back(self) -> None:
        """Receive the platform's callback, with the whole check of its signature."""
        assert (await flows.take_callback(self._pay, self._callback)).success

    async def _query(self) -> None:
        """Query the platform about the payment, if that is due."""
        self._shop.wall_ms += _NEXT_TRY_MS
        await polling.check_payments(self._pay, None)

    async def _refund(self) -> None:
        """Send the refunds that are due; the platform answers."""
        self._shop.wall_ms += _NEXT_TRY_MS
        await polling.send_refunds(self._pay, None)

    async def _cancel(self) -> None:
        command = m.UserOrder(order_id=self.order_id, user_id=_BUYER["user_id"])
        await self._order.run(steps.cancel_by_user, command)

    async def _time_out(self) -> None:
        self._shop.now += _TIME_TO_PAY
        await placing.sweep_unpaid(self._order, None)

    def _end(self) -> dict[str, object]:
        refunds = self._shop.platform.refunds.values()
        order, user = self._row("order", "trade_order"), self._row("user", "trade_user")
        accepted = self._row("pay", "trade_operation WHERE operation = 'accept_payment'")
        log = self._shop.services["log"].query("SELECT direction, amount FROM trade_pay_log")
        return {
            "order": ", ".join(
                f"{order[code]} {CODE_LABELS[code][order[code]]}"
                for code in ("order_status", "pay_status")
            ),
            "accept_payment": accepted["outcome"],
            "money": self.pay_amount - sum(refunds),
            "refunds": len(refunds),
            "log": sum(row["amount"] * (1 if row["direction"] == "paid" else -1) for row in log),
            "points": user["user_score"] - _BUYER["user_score"],
            "stock": self._row("goods", "trade_goods")["goods_number"],
            "coupon": CODE_LABELS["is_used"][self._row("coupon", "trade_coupon")["is_used"]],
            "balance": user["user_money"],
        }

    def _row(self, service: str, table: str) -> sqlite3.Row:
        row: sqlite3.Row
        [row] = self._shop.services[service].query(f"SELECT * FROM {table}")
        return row


def tally(ends: Iterable[Mapping[str, object]]) -> Table:
    """Count equal ends: a row for each, with the column `times`, the most frequent first."""
    counts = Counter(tuple(end.items()) for end in ends)
    return Table.of([{**dict(end), "times": times} for end, times in counts.most_common()])


def _request() -> m.PlaceOrder:
    price = _GOODS["goods_price"]
    return m.PlaceOrder(
        user_id=_BUYER["user_id"],
        goods_id=_GOODS["goods_id"],
        goods_number=1,
        goods_price=price,
        shipping_fee=shipping_fee(price),
        order_amount=price + shipping_fee(price),
        money_paid=_FROM_BALANCE,
        coupon_id=_COUPON["coupon_id"],
        address="北京",
        consignee=_BUYER["user_name"],
    )
