"""The picture of an order from its spans: the same whatever the timing, each logical call once."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from labkit.ops.trace.draw import NotTraced, draw

ORDER = "383026413512351744"


class Process:
    """Writes spans as the processes of a lab do, and moves the clock as it likes."""

    def __init__(self, pace: random.Random) -> None:
        self.spans: list[dict[str, Any]] = []
        self._pace, self._now = pace, 10**18

    def tick(self) -> int:
        self._now += self._pace.randrange(1, 10**9)
        return self._now

    def begin(self, kind: str, service: str, name: str, parent: Any = None, **about: Any) -> Any:
        span = {
            "trace": parent["trace"] if parent else f"{len(self.spans):032x}",
            "kind": kind,
            "span": f"{self._pace.getrandbits(64):016x}",
            "parent": parent["span"] if parent else "",
            "service": service,
            "instance": f"{service}-1",
            "pid": 2**22 + 1,
            "name": name,
            "status": 0,
            "failed": False,
            "began": self.tick(),
            "ended": None,
            **about,
        }
        self.spans.append(span)
        return span

    def end(self, span: Any, outcome: str = "SUCCESS", **about: Any) -> Any:
        span.update(ended=self.tick(), outcome=outcome, **about)
        return span

    def call(self, caller: Any, service: str, name: str, outcome: str = "SUCCESS") -> Any:
        call = self.begin("call", caller["service"], name, caller, peer=service)
        self.end(self.begin("serve", service, name, call), outcome)
        return self.end(call, outcome)

    def step(self, flow: Any, name: str, outcome: str = "SUCCESS") -> Any:
        return self.end(self.begin("step", flow["service"], name, flow), outcome)

    def message(self, step: Any, *handlers: tuple[str, str], topic: str = "order_cancel") -> None:
        send = self.end(self.begin("send", step["service"], topic, step, event_id="7"))
        for service, handler in self._pace.sample(handlers, len(handlers)):
            self.end(self.begin("receive", service, handler, send, event_id="7"))

    def request(self, name: str = "POST /order/confirm", **about: Any) -> Any:
        return self.begin("http", "order-web", name, **about)

    def flow(self, request: Any) -> tuple[Any, Any]:
        call = self.begin("call", "order-web", "confirm_order", request, peer="order")
        return call, self.begin("serve", "order", "confirm_order", call, order_id=ORDER)


def lines(process: Process, folder: Path, seed: int = 0) -> list[str]:
    """Draw the lines of several files, in any order."""
    shuffled = random.Random(seed).sample(process.spans, len(process.spans))
    for span in shuffled:
        with (folder / f"{span['service']}-1.jsonl").open("a") as file:
            file.write(json.dumps(span) + "\n")
    picture = draw(folder, ORDER, lambda text: text.replace(ORDER, "O1"))
    return repr(picture).splitlines()


def cancelled(pace: random.Random) -> Process:
    """An order that fails at confirm, and everybody hears of it."""
    process = Process(pace)
    request = process.request()
    process.call(request, "order", "open_order")
    call, flow = process.flow(request)
    process.call(flow, "goods", "deduct_stock")
    process.step(flow, "confirm_pre_order", "ORDER_CONFIRM_FAILED")
    cancel = process.step(flow, "cancel_failed")
    process.end(flow, "ORDER_CONFIRM_FAILED")
    process.end(call, "ORDER_CONFIRM_FAILED")
    process.end(request, "ORDER_CONFIRM_FAILED", status=422, order_id=ORDER)
    process.message(cancel, ("user", "return_balance"), ("goods", "return_stock"))
    return process


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
    assert lines(cancelled(random.Random(seed)), tmp_path, seed) == CANCELLED


def test_spans_of_others_are_not_in_it(tmp_path: Path) -> None:
    """Another order, and a look at this one, leave the picture as it is."""
    process = cancelled(random.Random(0))
    other = process.request(order_id="383026413512351999")
    process.end(process.begin("call", "order-web", "confirm_order", other, peer="order"))
    process.end(other, status=200)
    process.end(process.request("GET /order/{order_id}", order_id=ORDER), status=200)
    assert lines(process, tmp_path) == CANCELLED


def test_a_retried_call_is_drawn_once(tmp_path: Path) -> None:
    """A call that an instance died over, and that another answered, is one call with one answer."""
    process = Process(random.Random(1))
    request = process.request(order_id=ORDER)
    call, flow = process.flow(request)
    stock = process.begin("call", "order", "deduct_stock", flow, peer="goods")
    process.begin("serve", "goods", "deduct_stock", stock)  # died
    process.end(process.begin("serve", "goods", "deduct_stock", stock, instance="goods-2"))
    process.end(stock)
    process.end(flow)
    process.end(call)
    process.end(request, status=200)
    drawn = [line for line in lines(process, tmp_path) if "deduct_stock" in line]
    assert drawn == ["  3. order ->> goods: deduct_stock"]


def test_a_flow_that_is_run_again_is_told_once(tmp_path: Path) -> None:
    """A flow that died half-way and was run again under its key: every step of it stands once."""
    process = Process(random.Random(2))
    request = process.request(order_id=ORDER)
    call, died = process.flow(request)
    process.step(died, "save_pre_order")
    process.call(died, "goods", "deduct_stock")
    again = process.begin("serve", "order", "confirm_order", call, order_id=ORDER)
    process.step(again, "save_pre_order")
    process.call(again, "goods", "deduct_stock")
    process.step(again, "confirm_pre_order")
    process.end(again)
    process.end(call)
    process.end(request, status=200)
    names = [line.split(": ")[1] for line in lines(process, tmp_path)[3:6]]
    assert names == ["save_pre_order", "deduct_stock", "confirm_pre_order"]


def test_a_message_that_came_twice_is_drawn_once(tmp_path: Path) -> None:
    """Sent again, and handled again, it is one message and one handler a group."""
    process = cancelled(random.Random(3))
    cancel = next(span for span in process.spans if span["name"] == "cancel_failed")
    process.message(cancel, ("user", "return_balance"), ("goods", "return_stock"))
    assert lines(process, tmp_path) == CANCELLED


def test_the_first_try_that_was_answered_counts(tmp_path: Path) -> None:
    """Not one that failed before it, and not one that only found what it had left behind."""
    process = Process(random.Random(7))
    _, died = process.flow(process.request(order_id=ORDER))
    process.end(
        process.begin("step", "order", "cancel_failed", died), "OperationalError", failed=True
    )
    process.step(died, "cancel_failed", "ORDER_CONFIRM_FAILED")
    process.step(died, "cancel_failed", "IDEMPOTENCY_KEY_REUSED")
    assert "  3. order ->> order: cancel_failed: ORDER_CONFIRM_FAILED" in lines(process, tmp_path)


@pytest.mark.parametrize("compensated_first", [True, False])
def test_a_late_step_stands_where_it_was_done(compensated_first: bool, tmp_path: Path) -> None:
    """An unanswered step is told before or after its compensation, as their database had it."""
    process = Process(random.Random(4))
    request = process.request(order_id=ORDER)
    call, flow = process.flow(request)
    stock = process.begin("call", "order", "deduct_stock", flow, peer="goods")
    late = process.begin("serve", "goods", "deduct_stock", stock)
    process.end(stock, "Unknown", failed=True)
    cancel = process.step(flow, "cancel_failed")
    process.end(flow, "DEPENDENCY_AWAY")
    process.end(call, "DEPENDENCY_AWAY")
    process.end(request, "DEPENDENCY_AWAY", status=503)
    if not compensated_first:
        process.end(late)
    process.message(cancel, ("goods", "return_stock"))
    if compensated_first:
        process.end(late, "ORDER_CANCELLED")
    drawn = lines(process, tmp_path)
    assert drawn[4] == "  4. goods --x order: no answer"
    last = [line.split(". ")[1] for line in drawn[-3:]]
    message = ["order -) broker: order_cancel", "broker -) goods: return_stock"]
    if compensated_first:
        assert last == [*message, "goods ->> goods: late, deduct_stock: ORDER_CANCELLED"]
    else:
        assert last == ["goods ->> goods: late, deduct_stock", *message]


def test_what_never_arrived_is_drawn_as_lost(tmp_path: Path) -> None:
    """A call that nobody served ends in a cross, and so does a message that the broker refused."""
    process = Process(random.Random(5))
    request = process.request(order_id=ORDER)
    process.end(
        process.begin("call", "order-web", "confirm_order", request, peer="order"), failed=True
    )
    step = process.step(request, "cancel_expired")
    process.end(process.begin("send", "order", "order_cancel", step, event_id="8"), failed=True)
    drawn = lines(process, tmp_path)
    assert drawn[2] == "  2. order-web -x order: confirm_order: no answer"
    assert drawn[-1].endswith("order -x broker: order_cancel")
    assert drawn[-2].endswith("order-web --x client: no answer")


def test_a_process_that_died_shows_where(tmp_path: Path) -> None:
    """A step that began and never ended, in a process that is gone, died there."""
    process = Process(random.Random(6))
    _, flow = process.flow(process.request(order_id=ORDER))
    process.begin("step", "order", "confirm_pre_order", flow)
    assert "  3. order ->> order: confirm_pre_order: died" in lines(process, tmp_path)


def paid(pace: random.Random, asked: int, *, first: bool = False, heard: bool = True) -> Process:
    """An order's payment, of which the shop asks so often, and of which a callback comes.

    Args:
        pace: moves the clock.
        asked: how often the shop asks by itself.
        first: whether asking is quicker than the callback.
        heard: whether a callback comes at all.
    """
    process = Process(pace)
    opening = process.begin("http", "pay-web", "POST /pay/createPayment")
    call = process.begin("call", "pay-web", "create_payment", opening, peer="pay")
    flow = process.begin("serve", "pay", "create_payment", call, order_id=ORDER)
    process.end(process.begin("call", "pay", "create_trade", flow, peer="platform"))
    for span in (flow, call):
        process.end(span)
    process.end(opening, status=200)
    for _ in range(asked):
        ask = process.begin("call", "pay", "query_trade", peer="platform", order_id=ORDER)
        process.end(ask)
    steps = [lambda: process.end(process.begin("step", "pay", "take_payment"), order_id=ORDER)]
    steps += [lambda: callback(process)] if heard else []
    taken = [take() for take in (steps if first else reversed(steps))]
    process.message(taken[0], ("user", "add_points"), ("order", "record_paid"), topic="paid")
    return process


def callback(process: Process) -> Any:
    """A callback, and the step that takes what it says."""
    request = process.begin("http", "pay-web", "POST /pay/callback")
    call = process.begin("call", "pay-web", "take_callback", request, peer="pay")
    serve = process.begin("serve", "pay", "take_callback", call)
    taken = process.end(process.begin("step", "pay", "take_payment", serve), order_id=ORDER)
    for span in (serve, call):
        process.end(span)
    process.end(request, "", status=200)
    return taken


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


@pytest.mark.parametrize("asked", [0, 1, 3])
@pytest.mark.parametrize("first", [False, True])
def test_a_callback_is_the_platforms_however_often_the_shop_asks(
    asked: int, first: bool, tmp_path: Path
) -> None:
    """The platform calls back; whether asking was quicker, and how often, changes no line."""
    if asked or not first:
        assert lines(paid(random.Random(asked), asked, first=first), tmp_path) == PAID


def test_a_payment_of_which_no_callback_came_was_asked_for(tmp_path: Path) -> None:
    """Where the callback is lost, the story says that the shop asked, and what came of it."""
    drawn = lines(paid(random.Random(8), 2, heard=False), tmp_path)
    assert drawn[6:] == [
        "  6. pay ->> platform: query_trade",
        "  7. pay ->> pay: take_payment",
        *[f"{number:3}. {line.split('. ')[1]}" for number, line in enumerate(PAID[11:], 8)],
    ]


def test_the_picture_in_mermaid(tmp_path: Path) -> None:
    """JupyterLab gets Mermaid in Markdown, with a title and a description; all others get text."""
    lines(cancelled(random.Random(0)), tmp_path)
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
