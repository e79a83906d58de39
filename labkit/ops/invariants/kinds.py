"""The two kinds of invariant: within one database, and across several. Both are SQL.

The SQL is run on a mirror, in which a table is called `goods.trade_goods`, and which has the tables
of `labkit.ops.invariants.views` too. It selects a row for each breach.
"""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from labkit.results import Message
from labkit.shop.tables import TABLES

#: Tables that have a view for each service, without the messages that a fault has put there.
MESSAGES = ("trade_mq_producer", "trade_mq_consumer_log")
#: view → the table whose rows of all services it has.
VIEWS = {
    "outbox": "trade_mq_producer",
    "inbox": "trade_mq_consumer_log",
    "operation": "trade_operation",
    "forgotten": "trade_mq_forgotten",
}
_MESSAGES = re.compile(rf"\b({'|'.join(MESSAGES)})\b")
_SHARED = re.compile(rf"\b({'|'.join(('trade_operation', 'trade_mq_forgotten', *MESSAGES))})\b")
_HORIZON = "(SELECT max(horizon) FROM trade_mq_forgotten)"
#: The highest number of breaches that are read: a lost table breaks every row.
_MAX_BREACHES = 1000


class Clocks(TypedDict):
    """The values of an invariant's parameters.

    Keys:
        now_ms: the wall clock.
        latest: the latest time that can have been noted.
    """

    now_ms: int
    latest: str


@dataclass
class Finding:
    """The number of rows that an invariant has read, and its breaches."""

    looked_at: int
    broken: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Invariant:
    """A statement that must be true of the data.

    Attributes:
        name: of the invariant.
        summary: the statement, in a sentence.
        service: whose database it is about; empty: each service's, where it is local.
        count_sql: SQL that counts the rows that it is about.
        breach_sql: SQL that selects the breaches, a row each.
    """

    name: str
    summary: str
    service: str
    count_sql: str
    breach_sql: str

    def evaluate(self, mirror: sqlite3.Connection, values: Clocks) -> Finding:
        """Count the rows, and find the breaches.

        Args:
            mirror: of `open_mirror`.
            values: of the SQL's parameters.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Local(Invariant):
    """An invariant within one database: it holds at any moment.

    In its SQL, the tables that every service has are those of the service in question, and
    `{service}` is its name. Messages that were settled may be gone: what rests on one holds for
    orders, payments and refunds above `{horizon}`, the highest id in any that went.

    Attributes:
        poison: read also the messages that a fault has put there, and no service has sent.
    """

    poison: bool = False

    @property
    def services(self) -> Sequence[str]:
        """Return the services whose databases it is about."""
        return [self.service] if self.service else list(TABLES)

    def sql_in(self, service: str) -> tuple[str, str]:
        """Return the SQL that counts the rows in one database, and that selects the breaches."""
        return (
            _within(self.count_sql, service, self.poison),
            _within(self.breach_sql, service, self.poison),
        )

    def evaluate(self, mirror: sqlite3.Connection, values: Clocks) -> Finding:
        """Evaluate it in one database, or in each."""
        finding = Finding(0)
        for service in self.services:
            count_sql, breach_sql = self.sql_in(service)
            finding.looked_at += _count(mirror, count_sql, values)
            texts = texts_of(mirror, breach_sql, values)
            finding.broken += [f"{service}: {text}" for text in texts]
        return finding


@dataclass(frozen=True)
class Across(Invariant):
    """An invariant across several databases: it holds for what is decided."""

    def evaluate(self, mirror: sqlite3.Connection, values: Clocks) -> Finding:
        """Evaluate it in all databases."""
        looked_at = _count(mirror, self.count_sql, values)
        return Finding(looked_at, list(texts_of(mirror, self.breach_sql, values)))


def across(name: str, summary: str, count_sql: str, breach_sql: str) -> Across:
    """Make an invariant across databases."""
    return Across(name, summary, "", count_sql, breach_sql)


def as_json(message: type[Message], row: str = "", /, **values: str) -> str:
    """Write SQL for a message as JSON, in exactly the text of `Message.meaning`.

    Args:
        message: its class, whose fields give names and order.
        row: whose columns it is made of, where there are several.
        values: field → SQL, where it is not the column of that name.
    """
    of_row = f"{row}." if row else ""
    fields = {name: values.get(name, of_row + name) for name in message.model_fields}
    pairs = ", ".join(f"'{name}', {sql}" for name, sql in fields.items())
    whole = f"json_object({pairs})"
    for name, each in message.model_fields.items():
        if not each.is_required():  # what has its default is not said
            default = "NULL" if each.default is None else _literal(each.default)
            path = f"CASE WHEN {fields[name]} IS {default} THEN '$.{name}' ELSE '$.none.of.it' END"
            whole = f"json_remove({whole}, {path})"
    return whole


def required_of(message: type[Message], /, **values: str) -> str:
    """Write SQL for the part of a message that all releases say, as JSON.

    Args:
        message: its class.
        values: field → SQL, where it is not the column of that name.
    """
    required = [name for name, each in message.model_fields.items() if each.is_required()]
    pairs = ", ".join(f"'{name}', {values.get(name, name)}" for name in required)
    return f"json_object({pairs})"


def said_in(message: type[Message], text: str, /, **values: str) -> str:
    """Write SQL for the same part of a message that is there as JSON.

    Args:
        message: its class.
        text: SQL of the message.
        values: field → SQL, where it is not the field of that name.
    """
    extracted = {name: from_json(text, name) for name in message.model_fields}
    return required_of(message, **{**extracted, **values})


def _literal(value: str | int) -> str:
    return f"'{value}'" if isinstance(value, str) else str(int(value))


def symmetric_difference(first: str, second: str) -> str:
    """Write SQL for the rows that only one of two queries selects.

    Args:
        first: a query whose column names are those of the breaches.
        second: a query with the same columns.
    """
    return f"""SELECT * FROM (SELECT * FROM ({first}) EXCEPT {second})
        UNION ALL SELECT * FROM (SELECT * FROM ({second}) EXCEPT {first})"""


def from_json(text: str, name: str) -> str:
    """Write SQL for a field of a text in JSON, NULL where the text is no JSON."""
    return f"CASE WHEN json_valid({text}) THEN json_extract({text}, '$.{name}') END"


def number_of(view: str) -> str:
    """Write SQL that counts the rows of a view table by table, much faster than SQLite would."""
    parts = (f'(SELECT count(*) FROM "{service}".{VIEWS[view]})' for service in TABLES)
    return f"({' + '.join(parts)})"


def _within(sql: str, service: str, poison: bool) -> str:
    if not poison:
        sql = _MESSAGES.sub(rf'"{service}_\1"', sql)
    sql = sql.replace("{service}", f"'{service}'").replace("{horizon}", _HORIZON)
    return _SHARED.sub(rf'"{service}".\1', sql)


def _count(mirror: sqlite3.Connection, sql: str, values: Clocks) -> int:
    return int(mirror.execute(sql, dict(values)).fetchone()[0])


def texts_of(mirror: sqlite3.Connection, sql: str, values: Clocks) -> Iterator[str]:
    """Word each breach: its column `breach` where it has one, else all columns."""
    cursor = mirror.execute(sql, dict(values))
    rows = cursor.fetchmany(_MAX_BREACHES)
    names = [column[0] for column in cursor.description] if rows else []
    for row in rows:
        yield str(row[0]) if names == ["breach"] else str(dict(zip(names, row, strict=True)))
