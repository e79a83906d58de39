"""A reader of a lab's databases, from outside: it shows the rows, whatever the services believe."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeAlias

from sqlalchemy import Column, Connection, Executable, Select, Table, false, func, or_, select
from sqlalchemy.exc import DBAPIError

from labkit.home import Home
from labkit.payment_platform import tables as platform
from labkit.runtime.db.engines import open_reader
from labkit.runtime.db.errors import is_away
from labkit.runtime.db.tables import RUNTIME_TABLES
from labkit.shop.tables import TABLES

#: A row of a table: column → value.
Row: TypeAlias = dict[str, Any]
Rows: TypeAlias = list[Row]
#: A query, whatever its columns are.
Selection: TypeAlias = Select[Any]
_TIMEOUT_S = 60.0  # an invariant reads a million orders
_ID_BITS = 64
_MAX_VALUES = 10_000  # SQLite takes 32,766 in a statement, MySQL as many as fit

#: database → its tables; `platform` is the payment platform's, which the shop does not own.
DATABASES: Mapping[str, tuple[Table, ...]] = {
    **TABLES,
    platform.SERVICE: platform.PLATFORM_TABLES,
}
#: table → the databases that have it.
HOMES_OF: Mapping[str, tuple[str, ...]] = {
    table.name: tuple(name for name, tables in DATABASES.items() if table in tables)
    for tables in DATABASES.values()
    for table in tables
}
_BY_NAME = {table.name: table for tables in DATABASES.values() for table in tables}


class DatabaseAway(RuntimeError):
    """A database does not answer; the message is one line that says which, and what to do."""


class Reader:
    """Reads all databases of a home, each in a snapshot of its own.

    Args:
        home: of the lab.
        seconds: the time-out of a MySQL server.

    Attributes:
        home: of the lab.
    """

    def __init__(self, home: Home, seconds: float = _TIMEOUT_S) -> None:
        self.home = home
        self._engines = {name: open_reader(home.database_url(name), seconds) for name in DATABASES}

    @contextmanager
    def snapshot(self, service: str) -> Iterator[Connection]:
        """Open a read transaction on one database, for a block.

        Raises:
            DatabaseAway: the database does not answer.
        """
        with self.translate_errors(service), self.connect(service) as connection:
            yield connection

    def connect(self, service: str) -> AbstractContextManager[Connection]:
        """Begin a read transaction on one database; errors are raised as the driver raises them."""
        return self._engines[service].begin()

    def url(self, service: str) -> str:
        """Return the SQLAlchemy URL of a database, with its password."""
        return self._engines[service].url.render_as_string(hide_password=False)

    def is_file(self, service: str) -> bool:
        """Return True if a database is a file, and not on a server."""
        return self._engines[service].dialect.name == "sqlite"

    def are_files(self) -> bool:
        """Return True if all databases are files."""
        return all(map(self.is_file, DATABASES))

    @contextmanager
    def translate_errors(self, service: str) -> Iterator[None]:
        """Replace the driver's error about a database that does not answer, for a block.

        Raises:
            DatabaseAway: the block raised such an error.
        """
        try:
            yield
        except (DBAPIError, sqlite3.OperationalError) as error:
            if isinstance(error, DBAPIError) and not is_away(error):
                raise
            is_file = self.is_file(service)
            cure = "wait, or labkit down and labkit up" if is_file else "start its server, or wait"
            cause = error.orig if isinstance(error, DBAPIError) else error
            why = " ".join(str(cause).split())
            text = f"the database of {service} does not answer ({why}): {cure}"
            raise DatabaseAway(f"{text}, then ask again; labkit status says where it is") from error

    def query(self, service: str, statement: Executable) -> Rows:
        """Return the rows that a statement selects in one database."""
        with self.snapshot(service) as connection:
            return [dict(row._mapping) for row in connection.execute(statement)]

    def select_in(
        self, service: str, statement: Selection, column: Column[int], values: Iterable[int]
    ) -> Rows:
        """Select the rows whose column has one of many values, in several queries."""
        ordered = sorted(set(values))
        parts = [ordered[at : at + _MAX_VALUES] for at in range(0, len(ordered), _MAX_VALUES)]
        return [
            row for part in parts for row in self.query(service, statement.where(column.in_(part)))
        ]

    def table(self, name: str) -> Rows:
        """Read a table from every database that has it; in shared tables `service` says which.

        Raises:
            KeyError: there is no such table; says which there are.
        """
        table = self._table(name)
        return [
            row for service in HOMES_OF[name] for row in self._rows(service, table, table.select())
        ]

    def count(self, name: str, order_id: int | None = None) -> int:
        """Return how many rows a table has in all its databases, or how many are of one order.

        Raises:
            KeyError: there is no such table; says which there are.
        """
        return sum(self._counts(name, order_id).values())

    def page(self, name: str, limit: int, offset: int = 0, order_id: int | None = None) -> Rows:
        """Read a page of a table, in the order of `table`; other rows are not read.

        Args:
            name: of the table.
            limit: the highest number of rows.
            offset: the number of rows before the page.
            order_id: read only the rows of this order; None: all rows.

        Raises:
            KeyError: there is no such table; says which there are.
        """
        rows: Rows = []
        for service, number in self._counts(name, order_id).items():
            if offset < number and len(rows) < limit:
                part = _of_order(self._table(name).select(), self._table(name), order_id)
                part = part.limit(limit - len(rows)).offset(offset)
                rows += self._rows(service, self._table(name), part)
            offset = max(0, offset - number)
        return rows

    def first(self, name: str, **wanted: object) -> Row | None:
        """Return the first row of a table of one database with certain values; None without one."""
        table = self._table(name)
        matching = table.select().where(*(table.c[key] == value for key, value in wanted.items()))
        return next(iter(self._rows(HOMES_OF[name][0], table, matching.limit(1))), None)

    def columns(self, name: str) -> list[str]:
        """Return the columns of `table`'s rows, also where it has no row."""
        shared = ["service"] if _BY_NAME[name] in RUNTIME_TABLES else []
        return [*shared, *_BY_NAME[name].columns.keys()]

    def close(self) -> None:
        """Close the connections to the databases."""
        for engine in self._engines.values():
            engine.dispose()

    def _rows(self, service: str, table: Table, wanted: Selection) -> Rows:
        shared = {"service": service} if table in RUNTIME_TABLES else {}
        ordered = wanted.order_by(*(table.primary_key or table.c))
        return [{**shared, **row} for row in self.query(service, ordered)]

    def _counts(self, name: str, order_id: int | None) -> dict[str, int]:
        """Return how many rows each database has of a table."""
        table = self._table(name)
        rows = _of_order(select(func.count().label("number")).select_from(table), table, order_id)
        return {service: int(self.query(service, rows)[0]["number"]) for service in HOMES_OF[name]}

    def _table(self, name: str) -> Table:
        if name not in _BY_NAME:
            raise KeyError(f"there is no table {name}; there are {', '.join(sorted(_BY_NAME))}")
        return _BY_NAME[name]


def _of_order(statement: Selection, table: Table, order_id: int | None) -> Selection:
    """Narrow a statement to the rows of one order: those with its id, or its message key."""
    if order_id is None:
        return statement
    is_id = order_id.bit_length() < _ID_BITS  # no driver takes a longer number
    own = [table.c.order_id == order_id] if is_id and "order_id" in table.c else []
    keyed = [table.c.msg_key == str(order_id)] if "msg_key" in table.c else []
    return statement.where(or_(*own, *keyed) if own or keyed else false())
