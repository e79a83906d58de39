"""Every text that is stored has a bound, which each of its writers keeps: strict MySQL refuses what
is longer, and a row that must be kept would not be."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Column, String, Text

from labkit.payment_platform import forms
from labkit.payment_platform.tables import PLATFORM_TABLES
from labkit.runtime.db.texts import MAX_CAUSE, CauseText, shorten
from labkit.runtime.messaging import inbox, kafka_consumer
from labkit.runtime.messaging.inbox import DeadLetter, Delivery, Failure
from labkit.shop.messages import CancelOrder, OpenOrder
from labkit.shop.pay.messages import TradeFound, TradeReport
from labkit.shop.tables import TABLES
from labkit.shop.wiring import GROUPS, SERVICES
from labkit.web.orders import PlaceOrderBody
from tests.support.store import OpenStore

#: Bytes of a TEXT of MySQL.
TEXT_BYTES = 65_535
_HASH = "a SHA-256 in hexadecimal: 64"
_CODE = "a word of the code"
_EVENT = "a class variable of an event"
_SEED = "the first data alone"
_ANSWER = "a Result in JSON: its message and data are made of what is bounded here"
#: Column → what bounds it. One whose type cuts what is written needs no line.
BOUNDED = {
    "trade_operation.operation": _CODE,
    "trade_operation.outcome": _CODE,
    "trade_operation.body_hash": _HASH,
    "trade_operation.result": _ANSWER,
    "trade_mq_producer.topic": _EVENT,
    "trade_mq_producer.tag": _EVENT,
    "trade_mq_producer.msg_key": "a 64-bit number",
    "trade_mq_producer.body": "an event in JSON: see the tests of events",
    "trade_mq_producer.groups": "the names of the services: see the test of groups",
    "trade_mq_producer.trace": "a traceparent: 55",
    "trade_mq_consumer_log.group_name": "the name of a service",
    "trade_mq_consumer_log.topic": _EVENT,
    "trade_mq_consumer_log.tag": "what the consumer lets in",
    "trade_mq_consumer_log.msg_key": "what the consumer lets in",
    "trade_mq_consumer_log.body": "what the consumer lets in",
    "trade_mq_consumer_log.body_hash": _HASH,
    "trade_mq_consumer_log.trace": "what the consumer lets in",
    "trade_mq_forgotten.part": "outbox, inbox",
    "trade_order.address": "PlaceOrderBody",
    "trade_order.consignee": "PlaceOrderBody",
    "trade_order.cancel_reason": "CancelOrder",
    "trade_order_request.idempotency_key": "the header: 128",
    "trade_order_request.request_hash": _HASH,
    "trade_order_request.answer": _ANSWER,
    "trade_goods.goods_name": _SEED,
    "trade_goods.goods_desc": _SEED,
    "trade_goods_number_log.direction": _CODE,
    "trade_coupon_log.direction": _CODE,
    "trade_user.user_name": _SEED,
    "trade_user.user_mobile": _SEED,
    "trade_pay.trade_no": "TradeReport and TradeFound",
    "trade_refund.reason": _CODE,
    "trade_pay_log.direction": _CODE,
    "platform_trade.token": "made by the platform",
    "platform_trade.subject": "CreateForm",
    "platform_trade.trade_status": _CODE,
    "platform_trade.notify_url": "CreateForm",
    "platform_notice.last_error": "cut by mark_notice",
}


def texts() -> Iterator[tuple[str, Column[Any]]]:
    """Every column that keeps a text."""
    tables = {table for tables in TABLES.values() for table in tables} | set(PLATFORM_TABLES)
    for table in tables:
        for column in table.columns:
            if isinstance(column.type, String | Text | CauseText):
                yield f"{table.name}.{column.name}", column


def test_every_text_has_a_bound() -> None:
    """A new column needs a type that cuts, or a word here on what bounds it."""
    columns = dict(texts())
    cut = {name for name, column in columns.items() if isinstance(column.type, CauseText)}
    assert columns.keys() - cut == BOUNDED.keys()
    assert {name for name in columns if name.endswith("last_error")} - cut == {
        "platform_notice.last_error"
    }


@pytest.mark.parametrize("letter", ["x", "汉", "📱", "\x01", '"'])
def test_a_cause_of_any_length_is_cut(letter: str) -> None:
    """At 2,000 characters, with a word on how many there were; a short one stays as it is."""
    for length in (MAX_CAUSE, MAX_CAUSE + 1, 200_000):
        cut = shorten(letter * length)
        assert len(cut) == MAX_CAUSE
        assert (cut == letter * length) == (length == MAX_CAUSE)
        assert length == MAX_CAUSE or cut.endswith(f"… ({length} characters)")


@pytest.mark.parametrize("letter", ["x", "\x01", '"', "汉", "📱"])
def test_the_largest_dead_letter_fits_an_outbox(open_store: OpenStore, letter: str) -> None:
    """A record of the largest size that a consumer lets in, whose cause is longer than any column:
    the row is dead after its last try, and the dead letter is in the outbox, on every database."""
    store = open_store("user")
    body = letter * (kafka_consumer._MAX_BODY_BYTES // len(letter.encode()))
    delivery = Delivery(
        group="user", event_id=7, topic="t" * 64, tag="t" * 64, key="k" * 64, body=body
    )
    for _ in range(store.settings.retry_limit):
        store.run(inbox.keep_failure, Failure(delivery=delivery, error=letter * 200_000))
    assert len(store.row("trade_mq_consumer_log")["last_error"]) == MAX_CAUSE
    written = store.row("trade_mq_producer")
    assert written["topic"] == DeadLetter.topic
    assert len(written["body"].encode()) <= TEXT_BYTES


def test_the_names_of_groups_and_events_fit() -> None:
    """Those who must have an event, its topic and its tag."""
    columns = dict(texts())
    for groups in GROUPS.values():
        assert len(",".join(groups)) <= columns["trade_mq_producer.groups"].type.length
    events = {event for service in SERVICES.values() for event in service.emits} | {DeadLetter}
    assert all(max(len(event.topic), len(event.tag)) <= 64 for event in events)


def test_an_event_of_a_service_has_no_free_text() -> None:
    """Numbers alone: so its JSON is far below what a consumer lets in. A dead letter has a test of
    its own."""
    events = {event for service in SERVICES.values() for event in service.emits} - {DeadLetter}
    assert events
    for event in events:
        free = [name for name, field in event.model_fields.items() if field.annotation is str]
        assert free == [], event


def test_what_a_user_and_a_merchant_send_fits_its_column() -> None:
    """The longest that an edge lets in is what the column holds."""
    columns = dict(texts())
    pairs = {
        "trade_order.address": (PlaceOrderBody, "address"),
        "trade_order.consignee": (PlaceOrderBody, "consignee"),
        "platform_trade.subject": (forms.CreateForm, "subject"),
        "platform_trade.notify_url": (forms.CreateForm, "notify_url"),
    }
    for name, (form, field) in pairs.items():
        assert _longest(form.model_fields[field]) == columns[name].type.length, name


def _longest(field: Any) -> int:
    (longest,) = [part.max_length for part in field.metadata if hasattr(part, "max_length")]
    return int(longest)


def test_what_another_process_says_fits_its_column() -> None:
    """Messages between processes carry their bound: a longer one is refused where it arrives."""
    columns = dict(texts())
    pairs = {
        "trade_order.cancel_reason": [(CancelOrder, "reason")],
        "trade_order_request.idempotency_key": [(OpenOrder, "idempotency_key")],
        "trade_pay.trade_no": [(TradeReport, "trade_no"), (TradeFound, "trade_no")],
    }
    for name, fields in pairs.items():
        for message, field in fields:
            assert _longest(message.model_fields[field]) == columns[name].type.length
