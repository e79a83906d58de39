"""Shop and platform in one process: an order is paid over the real flows, steps and databases.

Between them stands what a network, a broker and a crash can do: messages that come late and in
another order, callbacks that come again or never, and a pay service that dies at any of its steps.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from datetime import timedelta
from itertools import count
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from labkit.payment_api.signing import signed
from labkit.payment_api.trade_status import TradeStatus
from labkit.payment_platform import messages as pm
from labkit.payment_platform import notice_request, notices, trades
from labkit.results import Result
from labkit.runtime.messaging.dead_letters import StuckItem
from labkit.runtime.steps import Event, Step
from labkit.settings import Settings
from labkit.shop import goods, tables, users
from labkit.shop import messages as m
from labkit.shop.order import flows as placing
from labkit.shop.order import steps
from labkit.shop.pay import flows, polling
from labkit.shop.pay import messages as p
from labkit.shop.states import PaymentState, RefundState
from labkit.shop.wiring import SERVICES
from tests.support import shopping as s
from tests.support.inprocess import InProcessShop
from tests.support.inprocess_platform import InProcessPlatform
from tests.support.store import PRICE, TABLES, OpenStore, Row

BALANCE_USED = 50_00
AMOUNT = 2 * PRICE - BALANCE_USED  # what is left to pay of each order
#: All is due again after a moment: ids are reserved on disk for a minute of the wall clock.
QUICK = Settings(check_first=0.001, check_max=0.002)
#: Whose events the shop consumes.
TELLERS = ("order", "pay")


Told = tuple[int, Event]


class Died(Exception):
    """The pay service was killed."""


class PayWorld(InProcessShop):
    """All databases of the shop and the platform's, and what travels between them.

    Args:
        open_store: makes databases.
        key: the platform's private key.

    Attributes:
        crash: which writing step of the pay service dies next, counted from 0, and whether
            `before` or `after` its commit; None when none does.
    """

    def __init__(self, open_store: OpenStore, key: RSAPrivateKey) -> None:
        super().__init__({name: open_store(name) for name in TABLES}, QUICK)
        clock = self.stores["order"].clock
        for store in self.stores.values():
            store.clock, store.settings = clock, QUICK
        self.key, self.clock = key, clock
        self.crash: tuple[int, str] | None = None
        self.shop = self.services["pay"]
        self.shop.platform, self.shop.platform_key = InProcessPlatform(self), key.public_key()
        self._loop = asyncio.new_event_loop()
        self._numbers = count(1)

    def open_with(self, stock: int, balance: int) -> None:
        """Give goods 1 so many pieces, and user 1 so much money."""
        with self.stores["goods"].engine.begin() as connection:
            connection.execute(tables.goods.update().values(goods_number=stock))
        with self.stores["user"].engine.begin() as connection:
            connection.execute(tables.user.update().values(user_money=balance))

    def run(self, service: str, step: Step[Any, Any], command: Any) -> Any:
        """A step of a service; the pay service may die over it."""
        store = self.stores[service]
        if service != "pay" or step.reads or self.crash is None:
            return store.run(step, command)
        nth, when = self.crash
        self.crash = (nth - 1, when)
        if nth == 0 and when == "before":

            def die(*args: Any) -> None:
                step(*args)
                raise Died

            store.run(Step(die, step.name), command)
        answer = store.run(step, command)
        if nth == 0:
            raise Died
        return answer

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a flow to its end."""
        return self._loop.run_until_complete(work)

    def place(self) -> int:
        """A confirmed order with 70.00 left to pay, that holds two pieces and 50.00 of balance."""
        order_id = s.opened(self.stores["order"], f"key {next(self._numbers)}").data.order_id
        request = s.asked(coupon_id=None, money_paid=BALANCE_USED)
        order = m.PreOrder(
            order_id=order_id,
            request=request,
            goods_amount=2 * PRICE,
            coupon_paid=0,
            pay_amount=AMOUNT,
        )
        self.run("order", steps.save_pre_order, order)
        stock = m.DeductStock(order_id=order_id, goods_id=1, goods_number=2)
        assert self.run("goods", goods.deduct_stock, stock).success
        money = m.DeductBalance(order_id=order_id, user_id=1, money_paid=BALANCE_USED)
        assert self.run("user", users.deduct_balance, money).success
        assert s.confirm(self.stores["order"], order_id).success
        return int(order_id)

    def create(self, order_id: int) -> Result[p.PaymentOpened]:
        """createPayment of an order."""
        answer: Result[p.PaymentOpened]
        answer = self.do(flows.create_payment(self.shop, p.CreatePayment(order_id=order_id)))
        return answer

    def press(
        self, pay_id: int, step: Step[Any, Any] = trades.pay_trade
    ) -> Result[pm.CashierTrade]:
        """Press a button of the cashier page."""
        token = self.trade(pay_id)["token"]
        answer: Result[pm.CashierTrade] = self.run("platform", step, pm.CashierToken(token=token))
        return answer

    def trade(self, pay_id: int) -> Row:
        """The platform's trade of a payment."""
        return self.stores["platform"].row("platform_trade", out_trade_no=pay_id)

    def notice(self, pay_id: int) -> dict[str, str]:
        """The parameters of the platform's callback about a payment that has ended, signed."""
        row = self.stores["platform"].row("platform_notice", out_trade_no=pay_id)
        fields = {**self.trade(pay_id), **row, "now": self.clock.now()}
        notice = pm.Notice(**{name: fields[name] for name in pm.Notice.model_fields})
        return signed(self.key, notice_request.params_of(notice))

    def hear(self, fields: Mapping[str, str]) -> Result[None]:
        """The pay service hears a callback."""
        callback = p.Callback(fields=tuple(fields.items()))
        answer: Result[None] = self.do(flows.take_callback(self.shop, callback))
        return answer

    def call_back(self, pay_id: int) -> None:
        """The platform tells how a trade ended, if it has, and notes the answer."""
        rows = self.stores["platform"].rows("platform_notice", out_trade_no=pay_id)
        if rows:
            answer = self.hear(self.notice(pay_id))
            tried = pm.NoticeTried(
                notify_id=rows[0]["notify_id"],
                tries=rows[0]["tries"],
                error="" if answer.success else answer.message,
            )
            self.run("platform", notices.mark_notice, tried)

    def query(self) -> None:
        """The sweep that asks the platform, with everything due."""
        self._let_all_be_due()
        self.do(polling.check_payments(self.shop, None))

    def refund(self) -> None:
        """The sweep that sends refunds, with everything due."""
        self._let_all_be_due()
        self.do(polling.send_refunds(self.shop, None))

    def cancel(self, order_id: int) -> Result[m.OrderPlaced]:
        """The user cancels."""
        return s.cancel(self.stores["order"], order_id, "by_user")

    def give_back(self, order_id: int) -> Result[m.OrderPlaced]:
        """The user returns the order."""
        return s.return_goods(self.stores["order"], order_id)

    def time_out(self) -> None:
        """The time to pay passes for every order that there is, and the sweeper looks."""
        self.clock.advance(timedelta(seconds=self.shop.settings.unpaid_order_ttl))
        self.do(placing.sweep_unpaid(self.services["order"], None))

    def undelivered(self) -> list[Told]:
        """The events that were told and that not all groups have, as they were told."""
        return [event for name in TELLERS for event in self.stores[name].events]

    def deliver(self, every: list[Told]) -> None:
        """Deliver events to all their groups, in this order."""
        for event in every:
            self.deliver_event(*event)
            for name in TELLERS:
                if event in self.stores[name].events:
                    self.stores[name].events.remove(event)

    def settle(self) -> None:
        """Deliver, ask and refund until nothing is left to be done."""
        for _ in range(5):
            self.deliver(self.undelivered())
            self.query()
            self.refund()
            if not self.undelivered():
                return
        raise AssertionError(f"it does not settle: {self.undelivered()}")

    def by_hand(self, verb: str, number: int) -> Result[None]:
        """Do by hand what a person does with a stuck payment or refund."""
        step = SERVICES["pay"].manual_steps[verb]
        answer: Result[None] = self.run("pay", step, StuckItem(number=number))
        return answer

    def empty(self, service: str, table: str) -> None:
        """Remove all rows of a table."""
        [table_] = [candidate for candidate in TABLES[service] if candidate.name == table]
        with self.stores[service].engine.begin() as connection:
            connection.execute(table_.delete())

    def topics(self, order_id: int) -> list[str]:
        """Return the topics that were told about an order."""
        return [
            row["topic"]
            for name in TELLERS
            for row in self.stores[name].rows("trade_mq_producer", msg_key=str(order_id))
        ]

    def left(self) -> tuple[int, int, int]:
        """Stock, and balance and points of user 1."""
        user = self.stores["user"].row("trade_user", user_id=1)
        stock: int = self.stores["goods"].row("trade_goods")["goods_number"]
        return stock, user["user_money"], user["user_score"]

    def money(self) -> tuple[int, int]:
        """Return the cents that the platform holds for the shop, and those that the shop says."""
        trades = self.stores["platform"].rows(
            "platform_trade", trade_status=TradeStatus.TRADE_SUCCESS
        )
        back = self.stores["platform"].rows("platform_refund")
        paid = self.stores["pay"].rows("trade_pay", is_paid=PaymentState.PAID)
        refunds = self.stores["pay"].rows("trade_refund", state=RefundState.REFUNDED)
        return (
            sum(row["total_amount"] for row in trades) - sum(row["amount"] for row in back),
            sum(row["pay_amount"] for row in paid) - sum(row["amount"] for row in refunds),
        )

    def close(self) -> None:
        """Close the loop."""
        self._loop.close()

    def _let_all_be_due(self) -> None:
        self.stores["pay"].wait_by_the_wall(2 * self.shop.settings.check_max)
