"""The two kinds of invariant: within one database, and across several. Both are SQL.

A question is put to a mirror, in which a table is called `goods.trade_goods`, with the tables of
`labkit.ops.invariants.views` beside. It gives a row for each breach.
"""

import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from labkit.results import Message
from labkit.shop.tables import TABLES

#: Both have a view of a service's messages without those that a fault put there.
MESSAGES = ("trade_mq_producer", "trade_mq_consumer_log")
#: view → the table of which it has every service's rows.
VIEWS = {
    "outbox": "trade_mq_producer",
    "inbox": "trade_mq_consumer_log",
    "operation": "trade_operation",
}
_MESSAGES = re.compile(rf"\b({'|'.join(MESSAGES)})\b")
_SHARED = re.compile(rf"\b({'|'.join(('trade_operation', *MESSAGES))})\b")
#: So many breaches are read of one question: nobody looks at more, and a lost table breaks all.
_READ = 1000


@dataclass
class Finding:
    """How many rows were looked at, and what breaks the invariant."""

    looked_at: int
    broken: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Invariant:
    """Something that must be true of the data.

    Attributes:
        name: what it is called.
        summary: what must be true, in a sentence.
        service: whose database; empty: each service's, where it is local.
        count_sql: SQL that counts what is looked at.
        breach_sql: SQL that finds what breaks it, a row each.
    """

    name: str
    summary: str
    service: str
    count_sql: str
    breach_sql: str

    def evaluate(self, mirror: sqlite3.Connection, values: Mapping[str, Any]) -> Finding:
        """Count what there is, and find what breaks this.

        Args:
            mirror: of `mirrored`.
            values: `now_ms` and `latest`, by which the clocks stand.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Local(Invariant):
    """An invariant within one database: it holds at any moment.

    The three tables that every service has are those of the service that is looked at; `{service}`
    is its name.

    Attributes:
        poison: whether it looks also at messages that a fault put there: no service tells these.
    """

    poison: bool = False

    def evaluate(self, mirror: sqlite3.Connection, values: Mapping[str, Any]) -> Finding:
        """Look at one database, or at each."""
        finding = Finding(0)
        for service in [self.service] if self.service else TABLES:
            count_sql, breach_sql = (
                _within(sql, service, self.poison) for sql in (self.count_sql, self.breach_sql)
            )
            finding.looked_at += _ask(mirror, count_sql, values)[0][0]
            texts = _texts(mirror, breach_sql, values)
            finding.broken += [f"{service}: {text}" for text in texts]
        return finding


@dataclass(frozen=True)
class Across(Invariant):
    """An invariant over several databases: it holds of what is decided."""

    def evaluate(self, mirror: sqlite3.Connection, values: Mapping[str, Any]) -> Finding:
        """Look at all databases."""
        looked_at = _ask(mirror, self.count_sql, values)[0][0]
        return Finding(looked_at, list(_texts(mirror, self.breach_sql, values)))


def across(name: str, summary: str, count_sql: str, breach_sql: str) -> Across:
    """Make an invariant that is no single service's."""
    return Across(name, summary, "", count_sql, breach_sql)


def as_json(message: type[Message], row: str = "", /, **values: str) -> str:
    """Write SQL for a message as JSON, to the letter as `model_dump_json` writes it.

    Args:
        message: its class, whose fields give names and order.
        row: whose columns it is made of, where there are several.
        values: field → SQL, where it is not the column of that name.
    """
    of_row = f"{row}." if row else ""
    fields = (f"'{name}', {values.get(name, of_row + name)}" for name in message.model_fields)
    return f"json_object({', '.join(fields)})"


def differ(one: str, other: str) -> str:
    """Write SQL for the rows that only one of two books has.

    Args:
        one: SQL that gives rows, under the names by which a breach is told.
        other: the same, of the other book.
    """
    return f"""SELECT * FROM (SELECT * FROM ({one}) EXCEPT {other})
        UNION ALL SELECT * FROM (SELECT * FROM ({other}) EXCEPT {one})"""


def from_json(text: str, name: str) -> str:
    """Write SQL for a field of a text, NULL where that is no JSON."""
    return f"CASE WHEN json_valid({text}) THEN json_extract({text}, '$.{name}') END"


def number_of(view: str) -> str:
    """Write SQL for the number of rows of a view, which SQLite counts much slower by itself."""
    parts = (f'(SELECT count(*) FROM "{service}".{VIEWS[view]})' for service in TABLES)
    return f"({' + '.join(parts)})"


def _within(sql: str, service: str, poison: bool) -> str:
    if not poison:
        sql = _MESSAGES.sub(rf'"{service}_\1"', sql)
    return _SHARED.sub(rf'"{service}".\1', sql).replace("{service}", f"'{service}'")


def _ask(mirror: sqlite3.Connection, sql: str, values: Mapping[str, Any]) -> list[Any]:
    return mirror.execute(sql, dict(values)).fetchmany(_READ)


def _texts(mirror: sqlite3.Connection, sql: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Word each breach: by itself where it has a `breach`, else column by column."""
    cursor = mirror.execute(sql, dict(values))
    names = [column[0] for column in cursor.description]
    for row in cursor.fetchmany(_READ):
        yield str(row[0]) if names == ["breach"] else str(dict(zip(names, row, strict=True)))
