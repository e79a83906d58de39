"""The diagram of a payment: it does not depend on polls, nor on when the callback came."""

import random
from pathlib import Path
from typing import Any

import pytest

from tests.support.spans import ORDER, SpanWriter, draw_lines


def paid(pace: random.Random, polls: int, *, first: bool = False, heard: bool = True) -> SpanWriter:
    """Write a payment of an order, with polls and a callback.

    Args:
        pace: moves the clock.
        polls: how often the shop asks the platform by itself.
        first: the poll is quicker than the callback.
        heard: a callback comes.
    """
    writer = SpanWriter(pace)
    opening = writer.begin("http", "pay-web", "POST /pay/createPayment")
    call = writer.begin("call", "pay-web", "create_payment", opening, peer="pay")
    flow = writer.begin("serve", "pay", "create_payment", call, order_id=ORDER)
    writer.end(writer.begin("call", "pay", "create_trade", flow, peer="platform"))
    for span in (flow, call):
        writer.end(span)
    writer.end(opening, status=200)
    for _ in range(polls):
        poll = writer.begin("call", "pay", "query_trade", peer="platform", order_id=ORDER)
        writer.end(poll)
    steps = [lambda: writer.end(writer.begin("step", "pay", "take_payment"), order_id=ORDER)]
    steps += [lambda: callback(writer)] if heard else []
    applied = [step() for step in (steps if first else reversed(steps))]
    writer.message(applied[0], ("user", "add_points"), ("order", "record_paid"), topic="paid")
    return writer


def callback(writer: SpanWriter) -> Any:
    """Write a callback, and return the step that applies it."""
    request = writer.begin("http", "pay-web", "POST /pay/callback")
    call = writer.begin("call", "pay-web", "take_callback", request, peer="pay")
    serve = writer.begin("serve", "pay", "take_callback", call)
    step = writer.end(writer.begin("step", "pay", "take_payment", serve), order_id=ORDER)
    for span in (serve, call):
        writer.end(span)
    writer.end(request, "", status=200)
    return step


PAID = [
    "Order O1",
    "  1. client ->> pay-web: POST /pay/createPayment",
    "  2. pay-web ->> pay: create_payment",
    "  3. pay ->> platform: create_trade",
    "  4. pay -->> pay-web: SUCCESS",
    "  5. pay-web -->> client: 200 SUCCESS",
    "  6. platform ->> pay-web: POST /pay/callback",
    "  7. pay-web ->> pay: take_callback",
    "  8. pay ->> pay: take_payment",
    "  9. pay -->> pay-web: SUCCESS",
    " 10. pay-web -->> platform: 200",
    " 11. pay -) broker: paid",
    " 12. broker -) order: record_paid",
    " 13. broker -) user: add_points",
]


@pytest.mark.parametrize("polls", [0, 1, 3])
@pytest.mark.parametrize("first", [False, True])
def test_a_callback_is_the_platforms_however_often_the_shop_asks(
    polls: int, first: bool, tmp_path: Path
) -> None:
    """The platform calls back; whether asking was quicker, and how often, changes no line."""
    if polls or not first:
        assert draw_lines(paid(random.Random(polls), polls, first=first), tmp_path) == PAID


def test_a_payment_of_which_no_callback_came_was_asked_for(tmp_path: Path) -> None:
    """Where the callback is lost, the story says that the shop asked, and what came of it."""
    drawn = draw_lines(paid(random.Random(8), 2, heard=False), tmp_path)
    assert drawn[6:] == [
        "  6. pay ->> platform: query_trade",
        "  7. pay ->> pay: take_payment",
        *[f"{number:3}. {line.split('. ')[1]}" for number, line in enumerate(PAID[11:], 8)],
    ]
