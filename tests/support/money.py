"""Money, from raw tables: at the platform, in the shop, and as clients were told, to the cent."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.support.db import Row, Tables

if TYPE_CHECKING:
    from tests.support.history import History

CONFIRMED = 1  # order_status
UNPAID, PAID = 0, 2  # pay_status
IS_PAID, REFUNDED = 1, 1  # is_paid of trade_pay, state of trade_refund
SUCCESS = "TRADE_SUCCESS"


class Money:
    """All rows about money, by what they are about.

    Attributes:
        trades, payments: pay id → the platform's row, the shop's row.
        back, refunds: refund id → the platform's row, the shop's row.
        went_back, given: the payments and the orders whose money went back.
        log: pay id → lines of the payment log. points: order id → lines of the points' log.
    """

    def __init__(self, tables: Tables) -> None:
        def rows(database: str, table: str, key: str) -> dict[int, Row]:
            return {row[key]: row for row in tables.rows(database, f"SELECT * FROM {table}")}

        self.trades = rows("platform", "platform_trade", "out_trade_no")
        self.payments = rows("pay", "trade_pay", "pay_id")
        self.back = rows("platform", "platform_refund", "out_request_no")
        self.refunds = rows("pay", "trade_refund", "refund_id")
        self.orders = rows("order", "trade_order", "order_id")
        self.went_back = {row["out_trade_no"] for row in self.back.values()}
        self.given = {row["order_id"] for row in self.refunds.values() if row["state"] == REFUNDED}
        self._of_order: dict[int, list[int]] = defaultdict(list)
        for pay_id, row in self.payments.items():
            self._of_order[row["order_id"]].append(pay_id)
        self.log: dict[int, list[tuple[str, int]]] = defaultdict(list)
        for row in tables.rows("log", "SELECT * FROM trade_pay_log ORDER BY direction"):
            self.log[row["pay_id"]].append((row["direction"], row["amount"]))
        self.points: dict[int, list[tuple[int, int]]] = defaultdict(list)
        score = "SELECT * FROM trade_user_score_log WHERE order_id ORDER BY score_log_type"
        for row in tables.rows("user", score):
            self.points[row["order_id"]].append((row["score_log_type"], row["use_score"]))

    def standing(self, order_id: int) -> list[Row]:
        """The trades that an order stands paid by: paid at the platform, and not given back."""
        trades = [
            self.trades[pay_id] for pay_id in self._of_order[order_id] if pay_id in self.trades
        ]
        return [
            trade
            for trade in trades
            if trade["trade_status"] == SUCCESS and trade["out_trade_no"] not in self.went_back
        ]


def money_breaches(history: "History") -> Iterator[str]:
    """Every cent that is not where clients were told, or not the same on both sides."""
    money = Money(history.tables)
    yield from _pressed(history, money)
    yield from _both_sides(money)
    for order_id, row in money.orders.items():
        yield from _of_order(order_id, row, money)
    yield from _logs(money)
    yield from _scores(history, money)


def _pressed(history: "History", money: Money) -> Iterator[str]:
    """Nothing is paid at the platform that no client paid."""
    for pay_id, trade in money.trades.items():
        pressed = {button for button, _ in history.pressed.get(pay_id, [])}
        if trade["trade_status"] == SUCCESS and "pay" not in pressed and not history.paid_by_others:
            yield f"payment {pay_id} is paid at the platform, and nobody pressed the button"


def _both_sides(money: Money) -> Iterator[str]:
    """Each trade has its payment and each refund its refund, with the same amount and state."""
    for pay_id, trade in money.trades.items():
        row = money.payments.get(pay_id)
        if row is None or row["pay_amount"] != trade["total_amount"]:
            yield f"trade of {trade['total_amount']} cents, and the payment is {row}"
        elif (row["is_paid"] == IS_PAID) != (trade["trade_status"] == SUCCESS):
            status = trade["trade_status"]
            yield f"payment {pay_id}: is_paid {row['is_paid']}, the trade is {status}"
    for pay_id, row in money.payments.items():
        if row["is_paid"] == IS_PAID and pay_id not in money.trades:
            yield f"payment {pay_id} is paid, and the platform knows no such trade"
    for refund_id in money.back.keys() | money.refunds.keys():
        there, here = money.back.get(refund_id), money.refunds.get(refund_id)
        if there is None or here is None:
            yield f"refund {refund_id}: at the platform {there}, in the shop {here}"
        elif (there["out_trade_no"], there["amount"], REFUNDED) != (
            here["pay_id"],
            here["amount"],
            here["state"],
        ):
            yield f"refund {refund_id} is {there} at the platform and {here} in the shop"
    given = Counter[int]()
    for row in money.back.values():
        given[row["out_trade_no"]] += row["amount"]
    for pay_id, trade in money.trades.items():
        if given[pay_id] not in (0, trade["total_amount"]):
            yield f"payment {pay_id}: {given[pay_id]} of {trade['total_amount']} cents went back"
        if given[pay_id] != trade["refunded_amount"]:
            yield f"trade {pay_id}: {trade['refunded_amount']} refunded, by refunds {given[pay_id]}"


def _of_order(order_id: int, row: Row, money: Money) -> Iterator[str]:
    """An order holds the money that it should, once, and its buyer the points."""
    what, free = f"order {order_id}", row["pay_amount"] == 0
    held = [trade["total_amount"] for trade in money.standing(order_id)]
    paid = row["order_status"] == CONFIRMED and row["pay_status"] == PAID and not free
    if held != ([row["pay_amount"]] if paid else []):
        state, cents = (row["order_status"], row["pay_status"]), row["pay_amount"]
        yield f"{what} in state {state}, {cents} cents to pay: the platform holds {held}"
    if row["order_status"] != CONFIRMED and row["refund_time"] is None and order_id in money.given:
        yield f"{what}: its money went back, and it does not say when"
    points = row["pay_amount"] // 100
    earned = [(1, points)] if points else []
    allowed = [earned] if paid else [[], [*earned, (2, points)] if points else []]
    if money.points[order_id] not in allowed:
        yield f"{what}: points {money.points[order_id]}, should be one of {allowed}"


def _logs(money: Money) -> Iterator[str]:
    """The log has a line for each payment that stands, and two or none for one that went back."""
    standing = {
        trade["out_trade_no"] for order_id in money.orders for trade in money.standing(order_id)
    }
    for pay_id in money.payments.keys() | money.log.keys():
        lines = money.log.get(pay_id, [])
        if pay_id in money.orders:  # nothing was left to pay of it: it is its own payment
            allowed = [[("paid", 0)]]
        else:
            amount = money.payments[pay_id]["pay_amount"] if pay_id in money.payments else -1
            both = [("paid", amount), ("refunded", amount)]
            allowed = [both[:1]] if pay_id in standing else [[], both]
        if lines not in allowed:
            yield f"payment {pay_id}: the log says {lines}, should be one of {allowed}"


def _scores(history: "History", money: Money) -> Iterator[str]:
    """Every user's points, from the opening and the orders that stand paid."""
    earned = Counter[int]()
    for order_id, row in money.orders.items():
        for trade in money.standing(order_id):
            earned[row["user_id"]] += trade["total_amount"] // 100
    for row in history.tables.rows("user", "SELECT * FROM trade_user"):
        should = history.users[row["user_id"]]["user_score"] + earned[row["user_id"]]
        if row["user_score"] != should:
            yield f"user {row['user_id']}: {row['user_score']} points, should be {should}"
