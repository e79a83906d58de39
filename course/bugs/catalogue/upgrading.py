"""Bugs of releases: each is in order alone, and wrong beside its neighbour.

A patch `module:name@1.1` is put in only where that release runs.
"""

from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import Connection

from course.bugs.bug import bug
from labkit.results import Message
from labkit.runtime import Row
from labkit.shop.order import statements as rows
from labkit.shop.states import OrderStatus, PayStatus
from labkit.stack.migrations import running

_run_revisions = running.upgrade

strict_reader = bug(
    "strict-reader",
    "A field that I do not know is an error of whoever sent it.",
    "pay-goes-first",
    breaks="Extra inputs are not permitted",
)


@strict_reader.replaces("labkit.runtime.evolution:read@1.0")
def _(kind: type[Message], text: str | bytes, _upcasts: Any = None) -> Any:
    return kind.model_validate_json(text, extra="forbid")


hash_over_defaults = bug(
    "hash-over-defaults",
    "The hash of a request is the hash of its JSON.",
    "asked-again-after-the-upgrade",
    breaks="IDEMPOTENCY_KEY_REUSED",
)


@hash_over_defaults.replaces("labkit.results:Message.meaning")
def _(self: Message) -> str:
    return self.model_dump_json()


contract_in_the_expansion = bug(
    "contract-in-the-expansion",
    "What the new release does not use can go when its database is made ready.",
    "placed-while-it-expands",
    breaks="no final answer within",
)


@contract_in_the_expansion.replaces("labkit.stack.migrations.running:upgrade@1.2")
def _(connection: Connection, service: str, to: str) -> None:
    _run_revisions(connection, service, "1.2_contract" if to == "1.2_expand" else to)


reads_before_the_migration = bug(
    "reads-before-the-migration",
    "The new column is there, so it holds what the old one held.",
    "read-while-it-rolls",
    breaks="shown without its consignee",
)


@reads_before_the_migration.replaces("labkit.shop.order.statements:fields_of@1.1")
def _(row: Row) -> dict[str, Any]:
    columns = dict(row._asdict())
    consignee = columns.pop("recipient")
    return {**columns, "consignee": consignee or ""}


default_that_changes = bug(
    "default-that-changes",
    "Nearly everybody buys a dozen, so that is the new default.",
    "goods-goes-first",
    breaks="goods took 12, the order says 1",
)


@default_that_changes.replaces("labkit.shop.messages:DeductStock@1.0")
class _One(BaseModel):
    goods_number: int = Field(default=1, gt=0)


@default_that_changes.replaces("labkit.shop.messages:DeductStock@1.1")
class _Dozen(BaseModel):
    goods_number: int = Field(default=12, gt=0)


state_that_nobody_knows = bug(
    "state-that-nobody-knows",
    "A new state is a new number, and nobody else has to know it.",
    "order-goes-first",
    breaks="ORDER_NOT_PAYABLE",
    waits=True,
)

_WRAPPED = 4


@state_that_nobody_knows.replaces("labkit.shop.order.statements:confirm@1.1")
def _(order_id: int, user_id: int, pay_amount: int, now: Any) -> Any:
    same = (rows.order.c.user_id == user_id) & (rows.order.c.pay_amount == pay_amount)
    wrapped = {"order_status": _WRAPPED, "confirm_time": now}
    return (
        rows._swap(order_id, OrderStatus.UNCONFIRMED, PayStatus.UNPAID).where(same).values(wrapped)
    )


upcaster_that_forgets = bug(
    "upcaster-that-forgets",
    "An upcaster makes the message that the new release needs, field by field.",
    "told-by-the-release-before",
    breaks="amount",
)


@upcaster_that_forgets.replaces("labkit.shop.upcasts:with_reason@1.2")
def _(fields: Any) -> Any:
    names = ("order_id", "user_id", "pay_id", "refund_id")
    return {"reason": "no reason is known", **{name: fields[name] for name in names}}
