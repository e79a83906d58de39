"""Reading a lab's databases from outside, as they are: what the code believes does not count."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sqlalchemy import Column, Connection, Executable, Select, Table, false, func, or_, select
from sqlalchemy.exc import DBAPIError

from labkit.home import Home
from labkit.payment_platform import tables as platform
from labkit.runtime.db.engines import open_reader
from labkit.runtime.db.errors import is_away
from labkit.runtime.db.tables import RUNTIME_TABLES
from labkit.shop.tables import TABLES

Rows = list[dict[str, Any]]
_ANSWER_SECONDS = 60.0  # an invariant over a million orders
_ID_BITS = 64
_AT_ONCE = 10_000  # SQLite takes 32,766 values in a statement, MySQL as many as fit

#: database → its tables: the services', and the payment platform's, which is not ours.
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
        home: whose databases.
        seconds: that a MySQL server has to answer.

    Attributes:
        home: whose databases.
    """

    def __init__(self, home: Home, seconds: float = _ANSWER_SECONDS) -> None:
        self.home = home
        self._engines = {name: open_reader(home.database_url(name), seconds) for name in DATABASES}

    @contextmanager
    def snapshot(self, service: str) -> Iterator[Connection]:
        """One read transaction on one database.

        Raises:
            DatabaseAway: it does not answer.
        """
        with self.naming(service), self.connect(service) as connection:
            yield connection

    def connect(self, service: str) -> AbstractContextManager[Connection]:
        """Begin a read transaction on one database; its errors are the driver's."""
        return self._engines[service].begin()

    def url(self, service: str) -> str:
        """SQLAlchemy URL of a database, with the password that it may have."""
        return self._engines[service].url.render_as_string(hide_password=False)

    def is_file(self, service: str) -> bool:
        """Whether a database is a file, and not on a server."""
        return self._engines[service].dialect.name == "sqlite"

    def are_files(self) -> bool:
        """Whether all databases are files."""
        return all(map(self.is_file, DATABASES))

    @contextmanager
    def naming(self, service: str) -> Iterator[None]:
        """Say which database it was that does not answer.

        Raises:
            DatabaseAway: the block met an error that says so.
        """
        try:
            yield
        except (DBAPIError, sqlite3.OperationalError) as error:
            if isinstance(error, DBAPIError) and not is_away(error):
                raise
            is_file = self.is_file(service)
            cure = "wait, or labkit down and labkit up" if is_file else "start its server, or wait"
            said = error.orig if isinstance(error, DBAPIError) else error
            why = " ".join(str(said).split())
            text = f"the database of {service} does not answer ({why}): {cure}"
            raise DatabaseAway(f"{text}, then ask again; labkit status says where it is") from error

    def query(self, service: str, statement: Executable) -> Rows:
        """The rows that a statement finds in one database."""
        with self.snapshot(service) as connection:
            return [dict(row._mapping) for row in connection.execute(statement)]

    def among(
        self, service: str, statement: Select[Any], column: Column[Any], numbers: Iterable[int]
    ) -> Rows:
        """The rows whose column is one of many numbers, asked for a part at a time."""
        listed = sorted(set(numbers))
        parts = [listed[at : at + _AT_ONCE] for at in range(0, len(listed), _AT_ONCE)]
        return [
            row for part in parts for row in self.query(service, statement.where(column.in_(part)))
        ]

    def table(self, name: str) -> Rows:
        """All rows of a table, from every database that has it, which `service` names.

        Raises:
            KeyError: there is no such table; says which there are.
        """
        table = self._known(name)
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
        """Read some rows of a table, in the order of `table`: what it holds beside costs nothing.

        Args:
            name: of the table.
            limit: how many rows at most.
            offset: how many rows to leave out before.
            order_id: of the order whose rows are wanted; None: of any.

        Raises:
            KeyError: there is no such table; says which there are.
        """
        found: Rows = []
        for service, number in self._counts(name, order_id).items():
            if offset < number and len(found) < limit:
                part = _of_order(self._known(name).select(), self._known(name), order_id)
                part = part.limit(limit - len(found)).offset(offset)
                found += self._rows(service, self._known(name), part)
            offset = max(0, offset - number)
        return found

    def first(self, name: str, **wanted: Any) -> dict[str, Any] | None:
        """Return the first row of a table of one database with certain values; None without one."""
        table = self._known(name)
        matching = table.select().where(*(table.c[key] == value for key, value in wanted.items()))
        return next(iter(self._rows(HOMES_OF[name][0], table, matching.limit(1))), None)

    def columns(self, name: str) -> list[str]:
        """The names of the columns of `table`, which it has without a row as well."""
        shared = ["service"] if _BY_NAME[name] in RUNTIME_TABLES else []
        return [*shared, *_BY_NAME[name].columns.keys()]

    def close(self) -> None:
        """Let go of the databases."""
        for engine in self._engines.values():
            engine.dispose()

    def _rows(self, service: str, table: Table, wanted: Select[Any]) -> Rows:
        shared = {"service": service} if table in RUNTIME_TABLES else {}
        ordered = wanted.order_by(*(table.primary_key or table.c))
        return [{**shared, **row} for row in self.query(service, ordered)]

    def _counts(self, name: str, order_id: int | None) -> dict[str, int]:
        """Return how many rows each database has of a table."""
        table = self._known(name)
        rows = _of_order(select(func.count().label("number")).select_from(table), table, order_id)
        return {service: int(self.query(service, rows)[0]["number"]) for service in HOMES_OF[name]}

    def _known(self, name: str) -> Table:
        if name not in _BY_NAME:
            raise KeyError(f"there is no table {name}; there are {', '.join(sorted(_BY_NAME))}")
        return _BY_NAME[name]


def _of_order(statement: Select[Any], table: Table, order_id: int | None) -> Select[Any]:
    """Narrow a statement to the rows of one order: those that bear its id, or its key."""
    if order_id is None:
        return statement
    is_id = order_id.bit_length() < _ID_BITS  # no driver takes a longer number
    own = [table.c.order_id == order_id] if is_id and "order_id" in table.c else []
    keyed = [table.c.msg_key == str(order_id)] if "msg_key" in table.c else []
    return statement.where(or_(*own, *keyed) if own or keyed else false())
