"""This tree beside the last release: whatever one of them writes the other can read.

What is compared are the promises in `released.json`. At a release they are written anew:
`python -m tests.support.released > tests/unit/contracts/released.json`.
"""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.compatibility import broken
from tests.support.released import Promises, promises

RELEASED: Promises = json.loads((Path(__file__).parent / "released.json").read_text())
NUMBER = {"required": False, "is": {"type": "integer"}, "default": "0"}

Change = Callable[[Promises], object]


def fields(tree: Promises, message: str) -> dict:
    return tree["messages"][message]["fields"]


def reordered(tree: Promises) -> None:
    """A new field, with a default, before the others."""
    own = fields(tree, "DeductStock")
    before = dict(own)
    own.clear()
    own |= {"gift": NUMBER, **before}


BREAKS: dict[str, tuple[Change, str]] = {
    "a message is gone": (
        lambda tree: tree["messages"].pop("OrderPaid"),
        "OrderPaid is gone: the old release still sends it",
    ),
    "a needed field is gone": (
        lambda tree: fields(tree, "OrderPaid").pop("pay_id"),
        "OrderPaid.pay_id is gone: the old release cannot read what the new one sends",
    ),
    "an optional field is gone": (
        lambda tree: fields(tree, "StuckItem").pop("outbox"),
        "StuckItem.outbox is gone: what the old release says by it is overlooked",
    ),
    "a type changed": (
        lambda tree: fields(tree, "OrderPaid")["pay_id"].update({"is": {"type": "string"}}),
        "OrderPaid.pay_id is of another type: each release misreads the other",
    ),
    "a bound is narrower": (
        lambda tree: fields(tree, "DeductStock")["goods_number"]["is"].update(maximum=9),
        "DeductStock.goods_number is of another type: each release misreads the other",
    ),
    "a default changed": (
        lambda tree: fields(tree, "StuckItem")["outbox"].update(default="true"),
        "StuckItem.outbox has another default: what is not said means two things",
    ),
    "a field is required now": (
        lambda tree: fields(tree, "StuckItem")["outbox"].update(required=True),
        "StuckItem.outbox is required now: the new release cannot read the old one's",
    ),
    "a new field is required": (
        lambda tree: fields(tree, "DeductStock").update(gift={**NUMBER, "required": True}),
        "DeductStock.gift is new and required: the new release cannot read the old one's",
    ),
    "a new field comes first": (
        reordered,
        "DeductStock has its fields in another order: the releases hash one request differently",
    ),
    "a call has a new version": (
        lambda tree: tree["messages"]["DeductStock"].update(version=2, reads=[1, 2]),
        "DeductStock has a new version: an old service cannot wait with a call",
    ),
    "an event is read in its new version only": (
        lambda tree: tree["messages"]["OrderPaid"].update(version=2, reads=[2]),
        "OrderPaid of version 1 is read no more: it lies in outboxes still",
    ),
    "an answer is wrapped otherwise": (
        lambda tree: fields(tree, "Result").update(severity={**NUMBER, "required": True}),
        "Result.severity is new and required: the new release cannot read the old one's",
    ),
    "a version goes down": (
        lambda tree: tree["messages"]["OrderPaid"].update(version=0),
        "OrderPaid is another kind of message: each release misreads the other",
    ),
    "an event is none any more": (
        lambda tree: tree["messages"]["OrderPaid"].update(event=False),
        "OrderPaid is another kind of message: each release misreads the other",
    ),
    "a topic carries another event": (
        lambda tree: tree["events"].update(paid="OrderRefunded"),
        "paid carries another event: each release misreads the other",
    ),
    "an operation has another name": (
        lambda tree: tree["operations"]["goods"].remove("deduct_stock"),
        "goods has no operation deduct_stock: what was done under it is done again",
    ),
    "a code has another number": (
        lambda tree: tree["codes"].update(STOCK_SHORT=[19999, 422]),
        "the code STOCK_SHORT is another: it stands in stored answers",
    ),
    "a call is gone": (
        lambda tree: tree["calls"].pop("goods.deduct_stock"),
        "the call goods.deduct_stock is gone: the old release still makes it",
    ),
    "a call answers otherwise": (
        lambda tree: tree["calls"].update({"goods.deduct_stock": ["DeductStock", "GoodsFound"]}),
        "the call goods.deduct_stock has another request or answer: each misreads the other",
    ),
    "a group hears less": (
        lambda tree: tree["topics"]["paid"].remove("user"),
        "user does not hear paid any more: the old release waits for it to have it",
    ),
    "a state is new": (
        lambda tree: tree["values"]["OrderStatus"].append("5"),
        "OrderStatus has the new value 5: the old release does not know it",
    ),
    "a state is gone": (
        lambda tree: tree["values"]["OrderStatus"].remove("4"),
        "OrderStatus has lost 4: the new release does not know the old one's rows",
    ),
    "a failpoint is gone": (
        lambda tree: tree["failpoints"].remove("goods.deduct_stock.before_commit"),
        "the failpoint goods.deduct_stock.before_commit is gone: programs outside arm it",
    ),
    "a table is gone": (
        lambda tree: tree["tables"].pop("log.trade_pay_log"),
        "the table log.trade_pay_log is gone: the old release uses it",
    ),
    "a column is gone": (
        lambda tree: tree["tables"]["order.trade_order"].pop("address"),
        "order.trade_order.address is gone: the old release writes it",
    ),
    "a column changed": (
        lambda tree: tree["tables"]["order.trade_order"]["address"].update(nullable=True),
        "order.trade_order.address is another column: the old release does not know it so",
    ),
    "a new column must be filled": (
        lambda tree: tree["tables"]["order.trade_order"].update(
            gift={"is": "TEXT", "nullable": False, "key": False}
        ),
        "order.trade_order.gift is new and must be filled: the old release does not fill it",
    ),
}
HARMLESS: dict[str, Change] = {
    "a new field with a default, at the end": lambda tree: fields(tree, "DeductStock").update(
        gift=NUMBER
    ),
    "a new message": lambda tree: tree["messages"].update(
        Gift={
            "version": 1,
            "reads": [1],
            "event": True,
            "fields": {"gift": {**NUMBER, "required": True}},
        }
    ),
    "an event has a new version": lambda tree: tree["messages"]["OrderPaid"].update(
        version=2, reads=[1, 2], fields={}
    ),
    "a new column that may be empty": lambda tree: tree["tables"]["order.trade_order"].update(
        gift={"is": "TEXT", "nullable": True, "key": False}
    ),
    "a new table": lambda tree: tree["tables"].update({"order.trade_gift": {}}),
    "a new call": lambda tree: tree["calls"].update({"goods.wrap": ["Wrap", "Result[None]"]}),
    "a new group": lambda tree: tree["topics"]["paid"].append("warehouse"),
    "a new failpoint": lambda tree: tree["failpoints"].append("goods.wrap.before_commit"),
}


def test_this_tree_runs_beside_the_last_release() -> None:
    """Nothing that was promised is broken; the last release is looked at whole."""
    assert broken(RELEASED, promises()) == []
    sizes = {part: len(entries) for part, entries in RELEASED.items()}
    assert min(sizes.values()) > 3, sizes


@pytest.mark.parametrize("name", BREAKS)
def test_a_change_that_breaks_a_neighbour_is_named(name: str) -> None:
    """Each kind of change is found, and it is said whom it breaks."""
    change, complaint = BREAKS[name]
    tree = copy.deepcopy(RELEASED)
    change(tree)
    assert broken(RELEASED, tree) == [complaint]


@pytest.mark.parametrize("name", HARMLESS)
def test_a_change_that_breaks_nobody_is_let_through(name: str) -> None:
    """A shop that may not grow would be the other mistake."""
    tree = copy.deepcopy(RELEASED)
    HARMLESS[name](tree)
    assert tree != RELEASED
    assert broken(RELEASED, tree) == []
