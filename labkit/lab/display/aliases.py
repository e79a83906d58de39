"""Short names for 64-bit ids, in the order in which they were made."""

import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select

from labkit.ops.reader import Reader, Row, Rows
from labkit.payment_platform import tables as platform
from labkit.runtime.db import tables as runtime
from labkit.runtime.registry.ids import first_of, made_at_ms
from labkit.shop import tables as shop

_LETTERS = {
    "order_id": "O",
    "goods_id": "G",
    "user_id": "U",
    "coupon_id": "C",
    "event_id": "E",
    "pay_id": "P",
    "refund_id": "R",
    "trade_no": "T",
    "notify_id": "N",
}
#: The platform's column → the shop's column of the same ids.
_SAME = {"out_trade_no": "pay_id", "out_request_no": "refund_id"}
_KIND = {column: column for column in _LETTERS} | _SAME
#: Columns that share their ids: an operation may be about a payment, and an order with nothing left
#: to pay is its own payment.
_SHARED = ("order_id", "pay_id")
#: Tables whose ids are named first, in this order: databases, table, the column of new ids, and the
#: other columns with ids.
_SOURCES = (
    (("order",), shop.request, "order_id", ("user_id",)),
    (("pay",), shop.pay, "pay_id", ("order_id", "user_id", "trade_no")),
    (("pay",), shop.refund, "refund_id", ("pay_id", "order_id", "user_id")),
    (("platform",), platform.trade, "out_trade_no", ("trade_no",)),
    (tuple(shop.TABLES), runtime.outbox, "event_id", ()),
)
_OVERLAP_MS = 60_000  # an id may be committed so much later than a younger one


class Aliases:
    """Short names for ids, numbered in the order of the ids: O1, O2 for orders, U1 for users."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, int], str] = {}
        self._by_text: dict[str, str] = {}
        self._numbers = Counter[str]()

    def add(self, rows: Iterable[Row]) -> None:
        """Name the ids that have no name yet, in their order, which is that of their making."""
        ids = {
            (_KIND[column], int(value))
            for row in rows
            for column, value in row.items()
            if value and column in _KIND
        }
        for column, number in sorted(ids, key=lambda id_: (id_[1], id_[0])):
            if self._find(column, number) is None:
                letter = _LETTERS[column]
                self._numbers[letter] += 1
                name = f"{letter}{self._numbers[letter]}"
                self._names[column, number] = self._by_text[str(number)] = name

    def format(self, column: str, value: object) -> object:
        """Return a value for people: a short name, `–` for nothing, a time to the second."""
        if column == "msg_key":
            return self._names.get(("order_id", int(str(value))), value)
        kind = _SAME.get(column, column)
        if kind in _LETTERS and value:
            return self._find(kind, int(str(value)))
        if value is None or (kind in _LETTERS and not value):
            return "–"
        return value.strftime("%m-%d %H:%M:%S") if isinstance(value, datetime) else value

    def replace(self, text: str) -> str:
        """Replace every named id in a text by its short name; small seeded ids stay."""
        return re.sub(r"\d{15,}", lambda id_: self._by_text.get(id_[0], id_[0]), text)

    def _find(self, column: str, number: int) -> str | None:
        kinds = _SHARED if column in _SHARED else (column,)
        return next(filter(None, (self._names.get((kind, number)) for kind in kinds)), None)


class AliasLoader:
    """Reads new ids from the databases and names them; ids that have names are not read again.

    Args:
        reader: of the lab's databases.
        aliases: to which the names are added.
    """

    def __init__(self, reader: Reader, aliases: Aliases) -> None:
        self._reader = reader
        self._aliases = aliases
        self._last_ids: dict[str, int] = {}

    def load(self) -> None:
        """Name all ids that were made since the last call, whichever tables are shown."""
        for services, table, key, more_keys in _SOURCES:
            rows: Rows = []
            since = self._last_ids.get(table.name, 0)
            columns = [table.c[name] for name in (key, *more_keys)]
            for service in services:
                young = select(*columns).where(table.c[key] > since)
                rows += self._reader.query(service, young)
            self._aliases.add(rows)
            last = max((row[key] for row in rows), default=since)
            self._last_ids[table.name] = max(since, first_of(made_at_ms(last) - _OVERLAP_MS))
