"""One trace for one order, through HTTP, calls and messages; and the picture of it."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from labkit.lab import Lab
from labkit.ops.trace.draw import NotTraced
from labkit.ops.trace.reading import read_spans
from labkit.ops.trace.tree import Span
from labkit.waiting import wait_until

pytestmark = pytest.mark.slow

FAIL = ("order.confirm_pre_order.before_commit", "refuse")
_TIMES = {"CALL_TIMEOUT": "5", "FLOW_TIMEOUT": "10", "UNCONFIRMED_DEADLINE": "20"}
TRACE_ID, PARENT_ID = "ab" * 16, "cd" * 8
PLACED = """\
Order O1
  1. client ->> order-web: POST /order/confirm
  2. order-web ->> order: open_order
  3. order-web ->> order: confirm_order
  4. order ->> goods: find_goods
  5. order ->> user: find_user
  6. order ->> coupon: find_coupon
  7. order ->> order: save_pre_order
  8. order ->> goods: deduct_stock
  9. order ->> coupon: use_coupon
 10. order ->> user: deduct_balance
 11. order ->> order: confirm_pre_order
 12. order -->> order-web: SUCCESS
 13. order-web -->> client: 200 SUCCESS, O1"""
CANCELLED = """\
Order O1
  1. client ->> order-web: POST /order/confirm
  2. order-web ->> order: open_order
  3. order-web ->> order: confirm_order
  4. order ->> goods: find_goods
  5. order ->> user: find_user
  6. order ->> order: save_pre_order
  7. order ->> goods: deduct_stock
  8. order ->> order: confirm_pre_order: ORDER_CONFIRM_FAILED
  9. order ->> order: cancel_failed
 10. order -->> order-web: ORDER_CONFIRM_FAILED
 11. order-web -->> client: 422 ORDER_CONFIRM_FAILED, O1
 12. order -) broker: order_cancel
 13. broker -) order: record_cancelled
 14. broker -) goods: return_stock
 15. broker -) coupon: return_coupon
 16. broker -) user: return_balance
 17. broker -) pay: stop_payment"""
PAID = """\
 12. client ->> pay-web: POST /pay/createPayment
 13. pay-web ->> pay: create_payment
 14. pay ->> order: find_order
 15. pay ->> pay: open_payment
 16. pay ->> goods: find_goods
 17. pay ->> platform: create_trade
 18. pay ->> pay: note_trade
 19. pay -->> pay-web: SUCCESS
 20. pay-web -->> client: 200 SUCCESS
 21. platform ->> pay-web: POST /pay/callback
 22. pay-web ->> pay: take_callback
 23. pay ->> pay: take_payment
 24. pay -->> pay-web: SUCCESS
 25. pay-web -->> platform: 200
 26. pay -) broker: paid
 27. broker -) order: record_paid
 28. broker -) user: add_points
 29. broker -) log: log_payment
 30. client ->> order-web: POST /order/O1/return
 31. order-web ->> order: return_order
 32. order-web -->> client: 200 SUCCESS, O1
 33. order -) broker: order_return
 34. broker -) goods: return_stock
 35. broker -) coupon: return_coupon
 36. broker -) user: return_balance
 37. broker -) pay: stop_payment
 38. pay ->> platform: refund_trade
 39. pay ->> pay: finish_refund
 40. pay -) broker: refunded
 41. broker -) order: record_refunded
 42. broker -) user: take_points_back
 43. broker -) log: log_refund"""


@pytest.fixture(scope="module")
def running_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with time: a call that a busy machine keeps waiting would be another story."""
    with pytest.MonkeyPatch.context() as environment:
        for name, seconds in _TIMES.items():
            environment.setenv(f"LABKIT_{name}", seconds)
        lab = Lab.up(tmp_path_factory.mktemp("lab") / "home")
    yield lab
    lab.down()


def spans(lab: Lab) -> list[Span]:
    """Every span that the lab's processes have ended."""
    return [span for span in read_spans(lab.home.traces) if span["ended"]]


def trace_of(lab: Lab, order_id: str | None) -> str:
    """The one trace that an order is in."""
    (trace,) = {span["trace"] for span in spans(lab) if span.get("order_id") == order_id}
    return str(trace)


def test_one_trace_through_every_service(lab: Lab) -> None:
    """An order's spans are one trace in all five processes, and the picture tells its story."""
    placed = lab.order(coupon=True, money_paid=100_00)
    assert repr(lab.trace(placed.order_id)) == PLACED
    trace = trace_of(lab, placed.order_id)
    crossed = {span["service"] for span in spans(lab) if span["trace"] == trace}
    assert crossed == {"order-web", "order", "goods", "coupon", "user"}


def test_a_cancelled_order_crosses_the_broker(lab: Lab) -> None:
    """The message and all four that hear it are in the order's trace, and in the picture."""
    with lab.faults.armed(*FAIL):
        refused = lab.order()
    assert repr(lab.trace(refused.order_id)) == CANCELLED
    trace = trace_of(lab, refused.order_id)
    received = [span for span in spans(lab) if span["kind"] == "receive" and span["trace"] == trace]
    assert {span["service"] for span in received} == {"order", "goods", "coupon", "user", "pay"}


def test_an_order_is_paid_and_returned(lab: Lab) -> None:
    """From the payment over the callback to the refund: one story, in traces of its own each."""
    placed = lab.order(money_paid=100_00)
    assert placed.order_id
    assert lab.pay(placed.order_id).status == 200
    lab.settle()
    assert lab.return_order(placed.order_id).status == 200
    lines = repr(lab.trace(placed.order_id)).splitlines()
    assert lines[12:] == PAID.splitlines()


def test_a_lost_callback_is_asked_for(lab: Lab) -> None:
    """Where the platform's notice is lost, the picture shows who asked."""
    placed = lab.order()
    assert placed.order_id
    with lab.faults.armed("platform.notify.before_notify", "refuse"):
        assert lab.pay(placed.order_id).status == 200
        lab.settle()
    lines = [f"{line.start} {line.text}" for line in lab.trace(placed.order_id).lines]
    position = lines.index("pay query_trade")
    assert lines[position + 1 : position + 3] == ["pay take_payment", "pay paid"]


def test_all_that_was_asked_of_one_order(lab: Lab) -> None:
    """Two requests about one order stand one after the other; a mere look at it is not told."""
    placed = lab.order()
    assert placed.order_id
    lab.client.find(placed.order_id)
    lab.cancel(placed.order_id)
    requests = [line.text for line in lab.trace(placed.order_id).lines if line.start == "client"]
    assert requests == ["POST /order/confirm", "POST /order/O1/cancel"]


def test_retries_change_no_picture(lab: Lab) -> None:
    """A call sent twice, a message sent again from its row, a handler that failed: each once."""
    with (
        lab.faults.armed("order.deduct_stock.before_call", "duplicate"),
        lab.faults.armed("order.order_cancel.before_send", "refuse"),
        lab.faults.armed("goods.return_stock.before_commit", "refuse", 2),
        lab.faults.armed(*FAIL),
    ):
        refused = lab.order()
        lab.settle()
    assert repr(lab.trace(refused.order_id)) == CANCELLED


def test_a_process_that_died_over_a_call(lab: Lab) -> None:
    """The order service dies half-way through its flow and is asked again: one story, told once."""
    with lab.faults.armed("order.save_pre_order.after_commit", "crash"):
        placed = lab.order(coupon=True, money_paid=100_00)
    assert repr(lab.trace(placed.order_id)) == PLACED


def test_a_clients_own_trace_is_continued(lab: Lab) -> None:
    """`traceparent` of a client: its trace goes on where it is sampled, and is silent where not."""
    parent = f"00-{TRACE_ID}-{PARENT_ID}"
    for flags, place in (("01", "北京"), ("00", "上海")):
        header = {"traceparent": f"{parent}-{flags}"}
        lab.client.http.post("/order/confirm", json=lab.client.body(address=place), headers=header)
    request = wait_until(
        lambda: [span for span in spans(lab) if span["kind"] == "http"], "the request"
    )
    assert [(span["trace"], span["parent"]) for span in request] == [(TRACE_ID, PARENT_ID)]
    assert {span["trace"] for span in spans(lab)} == {TRACE_ID}


class Collector(ThreadingHTTPServer):
    """Takes what an OTLP exporter sends by HTTP."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, str]] = set()
        super().__init__(("127.0.0.1", 0), _Receiver)


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for process in ExportTraceServiceRequest.FromString(body).resource_spans:
            (service,) = (
                attribute.value.string_value
                for attribute in process.resource.attributes
                if attribute.key == "service.name"
            )
            assert isinstance(self.server, Collector)
            self.server.seen |= {
                (service, span.name) for scope in process.scope_spans for span in scope.spans
            }
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def collecting() -> Iterator[Collector]:
    server = Collector()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@contextmanager
def labkit_up(home: Path, **environment: str) -> Iterator[Lab]:
    """A lab as the command line starts it, with nothing of OpenTelemetry but what is said here."""
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OTEL_", "LABKIT_TRACING"))
    }
    command = [sys.executable, "-m", "labkit", "up", "--home", str(home)]
    subprocess.run(command, env={**own, **environment}, check=True, capture_output=True)
    lab = Lab.up(home)
    try:
        yield lab
    finally:
        lab.down()


def test_exporters_by_opentelemetrys_own_variables(tmp_path: Path) -> None:
    """`OTEL_TRACES_EXPORTER=otlp` is enough: every process sends its spans to the endpoint."""
    wanted = {
        ("order-web", "POST /order/confirm"),
        ("order", "confirm_order"),
        ("goods", "deduct_stock"),
        ("coupon", "use_coupon"),
        ("user", "deduct_balance"),
    }
    with collecting() as collector:
        endpoint = f"http://127.0.0.1:{collector.server_port}"
        otel = {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        with labkit_up(tmp_path / "home", **otel) as lab:
            assert lab.order(coupon=True, money_paid=100_00).status == 200
            wait_until(lambda: wanted <= collector.seen, "all services in what was sent")


def test_off_unless_asked_for(tmp_path: Path) -> None:
    """`labkit up` traces nothing: no file, nothing in the outbox, and the lab says why."""
    with labkit_up(tmp_path / "home") as lab:
        with lab.faults.armed(*FAIL):
            refused = lab.order()
        lab.settle()
        with pytest.raises(NotTraced, match="O1 left no trace"):
            lab.trace(refused.order_id)
        assert list(lab.home.traces.iterdir()) == []
        assert list(lab.tables("trade_mq_producer", raw=True)["trace"]) == [None]
