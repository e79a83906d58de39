"""The answers to a replay, compared with the tables: every breach in words."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from bench.load import Answer, result_of
from bench.purchases import Purchase

Row = dict[str, Any]


def breaches(
    rows: Iterable[Row], sent: Iterable[Purchase], answers: Iterable[Answer]
) -> Iterator[str]:
    """Everything in the order table that does not go with what was asked for and answered.

    Who was told 200 has exactly that order, confirmed, with what it asked for; who was refused has
    none; who was told neither has one or none. An order is matched with its purchase by its mark.

    Args:
        rows: of the order table, which has settled.
        sent: the purchases that were sent.
        answers: to all of them.
    """
    answered = {reply.number: reply for reply in answers}
    orders: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        orders[row["address"]].append(row)
    for purchase in sent:
        placed = orders.pop(purchase.mark, [])
        answer = answered.pop(purchase.number, None)
        if answer is None:
            yield f"purchase {purchase.mark} was sent, and nothing is known of its answer"
            continue
        yield from _of_answer(purchase, answer, placed)
        yield from _of_orders(purchase, placed)
    yield from (f"an order that no purchase asked for: {mark}" for mark in orders)
    yield from (f"an answer to nothing that was sent: number {number}" for number in answered)


def _of_answer(purchase: Purchase, answer: Answer, rows: list[Row]) -> Iterator[str]:
    what = f"purchase {purchase.mark}"
    there = {str(row["order_id"]) for row in rows if row["confirm_time"]}
    if len(there) > 1:
        yield f"{what} has several confirmed orders: {', '.join(sorted(there))}"
    if answer.status == 200:
        order_id = (result_of(answer).get("data") or {}).get("order_id")
        if order_id not in there:
            yield f"{what} was told that order {order_id} is placed; confirmed: {there or 'none'}"
    elif 400 <= answer.status < 500 and there:
        yield f"{what} was refused with {answer.status}, and order {there} was confirmed"


def _of_orders(purchase: Purchase, rows: list[Row]) -> Iterator[str]:
    for row in rows:
        for field, wanted in purchase.request().items():
            if row[field] != wanted:
                yield f"order {row['order_id']}: {field} is {row[field]}, asked for was {wanted}"
