"""SQL that writes messages as JSON: the text that is hashed, and no other."""

import sqlite3

import pytest

from labkit.ops.invariants.kinds import as_json
from labkit.results import Message


class Said(Message):
    """A message with fields that need not be said."""

    order_id: int
    coupon_id: int | None
    gift_note: str = ""
    priority: int = 0
    wrapping: str | None = None
    fragile: bool = False


@pytest.mark.parametrize(
    "said",
    [
        Said(order_id=1, coupon_id=None),
        Said(order_id=1, coupon_id=2, gift_note="给刘备", priority=3),
        Said(order_id=1, coupon_id=None, wrapping="red", gift_note="it's"),
    ],
)
def test_what_has_its_default_is_not_said(said: Message) -> None:
    """A row of a table gives the same text as the message: it is hashed, and compared."""
    columns = said.model_dump()
    with sqlite3.connect(":memory:") as database:
        names = ", ".join(columns)
        database.execute(f"CREATE TABLE said ({names})")
        marks = ", ".join("?" for _ in columns)
        database.execute(f"INSERT INTO said VALUES ({marks})", list(columns.values()))
        (text,) = database.execute(f"SELECT {as_json(Said)} FROM said").fetchone()
    assert text == said.meaning()
