"""One order and its payment, played event by event on the databases of all services."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from labkit.shop.messages import OrderPaid
from tests.support.payworld import Died, PayWorld, Told
from tests.support.store import Row

#: When messages reach their groups, given those that were there before the event.
Delivery = Callable[[PayWorld, list[Told]], None]


def at_once(world: PayWorld, _before: list[Told]) -> None:
    world.deliver(world.undelivered())


def in_disorder(world: PayWorld, before: list[Told]) -> None:
    """One event late and the newest first; that the order is paid, after everything else."""
    world.deliver([event for event in before[::-1] if not isinstance(event[1], OrderPaid)])


@dataclass
class Play:
    """One order and its payment, and what befalls them.

    Args:
        world: with its databases.
        delivery: when messages reach their groups.
        early: whether the buyer has paid before anything else; else just before a callback.
        look: called before each event with its place.

    Attributes:
        died: whether the pay service did.
    """

    world: PayWorld
    delivery: Delivery
    early: bool
    look: Callable[["Play", int], None] = lambda _play, _at: None
    died: bool = False

    def run(self, events: Sequence[str], crash: tuple[int, int, str] | None = None) -> Row:
        """Play the events in this order, settle, and give the outcome.

        Args:
            events: in which order.
            crash: at which event, at which step of the pay service in it, before or after its
                commit.
        """
        self.order_id = self.world.place()
        self.pay_id = self.world.create(self.order_id).data.pay_id
        if self.early:
            self.world.press(self.pay_id)
        for at, event in enumerate(events):
            self.look(self, at)
            before = self.world.undelivered()
            self.world.crash = crash[1:] if crash and crash[0] == at else None
            self.survive(lambda event=event: self.apply(event))
            self.survive(lambda before=before: self.delivery(self.world, before))
            self.world.crash = None
        self.world.deliver(self.world.undelivered()[::-1])
        self.world.settle()
        return self.outcome()

    def apply(self, event: str) -> None:
        if "callback" in event:
            self.world.press(self.pay_id)
            self.world.call_back(self.pay_id)
        elif event == "query":
            self.world.query()
        elif event == "user cancel":
            self.world.cancel(self.order_id)
        elif event == "time-out":
            self.world.time_out()
        elif event == "refund answer":
            self.world.refund()

    def survive(self, work: Callable[[], None]) -> None:
        """Where the pay service dies over it, it is started again, and the same comes again."""
        try:
            work()
        except Died:
            self.died, self.world.crash = True, None
            work()

    def state(self) -> tuple[Any, ...]:
        """Return what decides about the next event: the rows of all, without ids and times."""
        stores, mine = self.world.stores, {"order_id": self.order_id}
        pay = stores["pay"].row("trade_pay", pay_id=self.pay_id)
        accepted = stores["pay"].rows("trade_operation", operation="accept_payment", **mine)
        refund = stores["pay"].rows("trade_refund", pay_id=self.pay_id)
        row = stores["order"].row("trade_order", **mine)
        return (
            row["order_status"],
            row["pay_status"],
            pay["is_paid"],
            pay["next_check"] is None,
            *(operation["outcome"] for operation in accepted),
            *(f"refund {request['state']}" for request in refund),
            self.world.trade(self.pay_id)["trade_status"],
            *(event.topic for _, event in self.world.undelivered()),
        )

    def outcome(self) -> Row:
        """Everything that is left of the order in all databases, without ids and times."""
        stores, mine = self.world.stores, {"order_id": self.order_id}
        row, trade = stores["order"].row("trade_order", **mine), self.world.trade(self.pay_id)
        pay = stores["pay"].row("trade_pay", pay_id=self.pay_id)
        refunds = stores["pay"].rows("trade_refund", pay_id=self.pay_id)
        made = stores["platform"].rows("platform_refund", out_trade_no=self.pay_id)
        assert [refund["refund_id"] for refund in refunds] == [
            platform_refund["out_request_no"] for platform_refund in made
        ]
        assert pay["trade_no"] in (None, str(trade["trade_no"]))

        def logged(service: str, table: str, *columns: str) -> list[tuple[Any, ...]]:
            rows = stores[service].rows(table, **mine)
            return [tuple(line[column] for column in columns) for line in rows]

        return {
            "order": (row["order_status"], row["pay_status"]),
            "refund noted": row["refund_time"] is not None,
            "pay": pay["is_paid"],
            "open": pay["open_order_id"],
            "next": pay["next_check"],
            "refunds": [(refund["state"], refund["amount"]) for refund in refunds],
            "trade": (trade["trade_status"], trade["refunded_amount"]),
            "platform refunds": [platform_refund["amount"] for platform_refund in made],
            "points": logged("user", "trade_user_score_log", "score_log_type", "use_score"),
            "balance": logged("user", "trade_user_money_log", "money_log_type", "use_money"),
            "stock": logged("goods", "trade_goods_number_log", "direction", "goods_number"),
            "log": logged("log", "trade_pay_log", "direction", "amount"),
            "told": sorted(self.world.topics(self.order_id)),
        }
