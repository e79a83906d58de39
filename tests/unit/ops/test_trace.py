"""The picture of an order from its spans: the same whatever the timing, each logical call once."""

import random
from pathlib import Path

import pytest

from labkit.ops.trace.draw import NotTraced, draw
from tests.support.spans import ORDER, SpanWriter, draw_lines


def cancelled(pace: random.Random) -> SpanWriter:
    """Write an order that fails at its confirmation and is cancelled."""
    writer = SpanWriter(pace)
    request = writer.request()
    writer.call(request, "order", "open_order")
    call, flow = writer.flow(request)
    writer.call(flow, "goods", "deduct_stock")
    writer.step(flow, "confirm_pre_order", "ORDER_CONFIRM_FAILED")
    cancel = writer.step(flow, "cancel_failed")
    writer.end(flow, "ORDER_CONFIRM_FAILED")
    writer.end(call, "ORDER_CONFIRM_FAILED")
    writer.end(request, "ORDER_CONFIRM_FAILED", status=422, order_id=ORDER)
    writer.message(cancel, ("user", "return_balance"), ("goods", "return_stock"))
    return writer


CANCELLED = [
    "Order O1",
    "  1. client ->> order-web: POST /order/confirm",
    "  2. order-web ->> order: open_order",
    "  3. order-web ->> order: confirm_order",
    "  4. order ->> goods: deduct_stock",
    "  5. order ->> order: confirm_pre_order: ORDER_CONFIRM_FAILED",
    "  6. order ->> order: cancel_failed",
    "  7. order -->> order-web: ORDER_CONFIRM_FAILED",
    "  8. order-web -->> client: 422 ORDER_CONFIRM_FAILED, O1",
    "  9. order -) broker: order_cancel",
    " 10. broker -) goods: return_stock",
    " 11. broker -) user: return_balance",
]


@pytest.mark.parametrize("seed", range(10))
def test_the_same_whatever_the_timing(seed: int, tmp_path: Path) -> None:
    """Other times, other ids, another order of the lines and of the groups: the same picture."""
    assert draw_lines(cancelled(random.Random(seed)), tmp_path, seed) == CANCELLED


def test_spans_of_others_are_not_in_it(tmp_path: Path) -> None:
    """Another order, and a look at this one, leave the picture as it is."""
    writer = cancelled(random.Random(0))
    other = writer.request(order_id="383026413512351999")
    writer.end(writer.begin("call", "order-web", "confirm_order", other, peer="order"))
    writer.end(other, status=200)
    writer.end(writer.request("GET /order/{order_id}", order_id=ORDER), status=200)
    assert draw_lines(writer, tmp_path) == CANCELLED


def test_a_retried_call_is_drawn_once(tmp_path: Path) -> None:
    """A call that an instance died over, and that another answered, is one call with one answer."""
    writer = SpanWriter(random.Random(1))
    request = writer.request(order_id=ORDER)
    call, flow = writer.flow(request)
    stock = writer.begin("call", "order", "deduct_stock", flow, peer="goods")
    writer.begin("serve", "goods", "deduct_stock", stock)  # died
    writer.end(writer.begin("serve", "goods", "deduct_stock", stock, instance="goods-2"))
    writer.end(stock)
    writer.end(flow)
    writer.end(call)
    writer.end(request, status=200)
    drawn = [line for line in draw_lines(writer, tmp_path) if "deduct_stock" in line]
    assert drawn == ["  3. order ->> goods: deduct_stock"]


def test_a_flow_that_is_run_again_is_told_once(tmp_path: Path) -> None:
    """A flow that died half-way and was run again under its key: every step of it stands once."""
    writer = SpanWriter(random.Random(2))
    request = writer.request(order_id=ORDER)
    call, died = writer.flow(request)
    writer.step(died, "save_pre_order")
    writer.call(died, "goods", "deduct_stock")
    again = writer.begin("serve", "order", "confirm_order", call, order_id=ORDER)
    writer.step(again, "save_pre_order")
    writer.call(again, "goods", "deduct_stock")
    writer.step(again, "confirm_pre_order")
    writer.end(again)
    writer.end(call)
    writer.end(request, status=200)
    names = [line.split(": ")[1] for line in draw_lines(writer, tmp_path)[3:6]]
    assert names == ["save_pre_order", "deduct_stock", "confirm_pre_order"]


def test_a_message_that_came_twice_is_drawn_once(tmp_path: Path) -> None:
    """Sent again, and handled again, it is one message and one handler a group."""
    writer = cancelled(random.Random(3))
    cancel = next(span for span in writer.spans if span["name"] == "cancel_failed")
    writer.message(cancel, ("user", "return_balance"), ("goods", "return_stock"))
    assert draw_lines(writer, tmp_path) == CANCELLED


def test_the_first_try_that_was_answered_counts(tmp_path: Path) -> None:
    """Not one that failed before it, and not one that only found what it had left behind."""
    writer = SpanWriter(random.Random(7))
    _, died = writer.flow(writer.request(order_id=ORDER))
    writer.end(
        writer.begin("step", "order", "cancel_failed", died), "OperationalError", failed=True
    )
    writer.step(died, "cancel_failed", "ORDER_CONFIRM_FAILED")
    writer.step(died, "cancel_failed", "IDEMPOTENCY_KEY_REUSED")
    assert "  3. order ->> order: cancel_failed: ORDER_CONFIRM_FAILED" in draw_lines(
        writer, tmp_path
    )


@pytest.mark.parametrize("compensated_first", [True, False])
def test_a_late_step_stands_where_it_was_done(compensated_first: bool, tmp_path: Path) -> None:
    """An unanswered step is told before or after its compensation, as their database had it."""
    writer = SpanWriter(random.Random(4))
    request = writer.request(order_id=ORDER)
    call, flow = writer.flow(request)
    stock = writer.begin("call", "order", "deduct_stock", flow, peer="goods")
    late = writer.begin("serve", "goods", "deduct_stock", stock)
    writer.end(stock, "Unknown", failed=True)
    cancel = writer.step(flow, "cancel_failed")
    writer.end(flow, "DEPENDENCY_AWAY")
    writer.end(call, "DEPENDENCY_AWAY")
    writer.end(request, "DEPENDENCY_AWAY", status=503)
    if not compensated_first:
        writer.end(late)
    writer.message(cancel, ("goods", "return_stock"))
    if compensated_first:
        writer.end(late, "ORDER_CANCELLED")
    drawn = draw_lines(writer, tmp_path)
    assert drawn[4] == "  4. goods --x order: no answer"
    last = [line.split(". ")[1] for line in drawn[-3:]]
    message = ["order -) broker: order_cancel", "broker -) goods: return_stock"]
    if compensated_first:
        assert last == [*message, "goods ->> goods: late, deduct_stock: ORDER_CANCELLED"]
    else:
        assert last == ["goods ->> goods: late, deduct_stock", *message]


def test_what_never_arrived_is_drawn_as_lost(tmp_path: Path) -> None:
    """A call that nobody served ends in a cross, and so does a message that the broker refused."""
    writer = SpanWriter(random.Random(5))
    request = writer.request(order_id=ORDER)
    writer.end(
        writer.begin("call", "order-web", "confirm_order", request, peer="order"), failed=True
    )
    step = writer.step(request, "cancel_expired")
    writer.end(writer.begin("send", "order", "order_cancel", step, event_id="8"), failed=True)
    drawn = draw_lines(writer, tmp_path)
    assert drawn[2] == "  2. order-web -x order: confirm_order: no answer"
    assert drawn[-1].endswith("order -x broker: order_cancel")
    assert drawn[-2].endswith("order-web --x client: no answer")


def test_a_process_that_died_shows_where(tmp_path: Path) -> None:
    """A step that began and never ended, in a process that is gone, died there."""
    writer = SpanWriter(random.Random(6))
    _, flow = writer.flow(writer.request(order_id=ORDER))
    writer.begin("step", "order", "confirm_pre_order", flow)
    assert "  3. order ->> order: confirm_pre_order: died" in draw_lines(writer, tmp_path)


def test_the_picture_in_mermaid(tmp_path: Path) -> None:
    """JupyterLab gets Mermaid in Markdown, with a title and a description; all others get text."""
    draw_lines(cancelled(random.Random(0)), tmp_path)
    picture = draw(tmp_path, ORDER, lambda text: text.replace(ORDER, "O1"))
    shown = picture._repr_mimebundle_()
    assert shown["text/plain"].splitlines() == CANCELLED
    assert shown["text/markdown"].startswith("```mermaid\n%%{init")
    for line in (
        "sequenceDiagram",
        "accTitle: Order O1",
        "participant order_web as order-web",
        "order_web->>order: open_order",
        "broker-)user: return_balance",
    ):
        assert f"\n  {line}\n" in f"{picture.mermaid}\n" or line == "sequenceDiagram"
    assert "accDescr: client to order-web: POST /order/confirm" in picture.mermaid
    assert picture.participants == ["client", "order-web", "order", "goods", "user", "broker"]


def test_an_order_without_a_trace(tmp_path: Path) -> None:
    """Nothing was traced, or not this order: one sentence says what to do."""
    with pytest.raises(NotTraced, match="LABKIT_TRACING=on"):
        draw(tmp_path, ORDER, lambda text: text)
