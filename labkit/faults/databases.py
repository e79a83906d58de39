"""The faults of a service's own database, which is a file or a schema."""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Protocol

import psutil
from sqlalchemy import Connection, Engine, NullPool, Table, create_engine, make_url, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from labkit.faults import undo_actions
from labkit.faults.holding import held, running
from labkit.faults.undo_notes import end_when_cleared, undo_action, undo_note
from labkit.home import DATABASES, Home
from labkit.payment_platform.tables import trade
from labkit.runtime.db.errors import is_unknown_thread
from labkit.shop.tables import TABLES
from labkit.stack.setup import hide
from labkit.stack.setup.databases import FULL_TRIGGER, full_triggers
from labkit.stack.supervisor import spawn
from labkit.waiting import wait_until

_TABLE_IS_FULL = 1114
#: service → its main table, whose rows can be held.
_TABLES = {service: tables[0] for service, tables in TABLES.items()} | {"platform": trade}
_LOCK_S = 10


class Database(Protocol):
    """The faults of a database; each is undone when its block ends."""

    def away(self) -> AbstractContextManager[None]:
        """Take it away: the service cannot open it."""

    def locked(self) -> AbstractContextManager[None]:
        """Lock it: the service can read, and nobody can write."""

    def full(self) -> AbstractContextManager[None]:
        """Fill it: it cannot grow."""

    def row_held(self, number: int) -> AbstractContextManager[None]:
        """Hold one row of its main table in an open transaction."""


def databases_of(home: Home, service: str) -> list[Database]:
    """Return the database of a service, or those of all.

    Args:
        home: of the lab.
        service: such as `goods`; `all` of them.

    Raises:
        ValueError: it has none; says which have.
    """
    names = DATABASES if service == "all" else (service,)
    if not set(names) <= set(DATABASES):
        raise ValueError(f"{service} has no database; {', '.join(DATABASES)} have, or say: all")
    if not (urls := home.schemas()):
        return [File(home, name) for name in names]
    server = home.settings().mysql
    return [Schema(home, server, name, urls[name], _TABLES[name]) for name in names]


@undo_action
def unlock_account(home: Home, service: str) -> None:
    """Let a service's account in MySQL in again."""
    for schema in _schemas(home, service):
        schema.unlock()


@undo_action
def let_grow(home: Home, service: str) -> None:
    """Let the tables of a service in MySQL grow again."""
    for schema in _schemas(home, service):
        schema.drop_triggers()


@undo_action
def end_holder(home: Home, service: str, connection: int) -> None:
    """End the connection in MySQL that holds rows or tables of a service."""
    for schema in _schemas(home, service):
        schema.end(connection)


@undo_action
def let_write(_home: Home, service: str) -> None:
    """Let others write to an SQLite file again: the process that locks it sees its note gone."""


def _schemas(home: Home, service: str) -> list["Schema"]:
    """Return the schema of a service; none where the lab uses files by now."""
    databases = databases_of(home, service)
    return [database for database in databases if isinstance(database, Schema)]


class File:
    """An SQLite file.

    Args:
        home: of the lab.
        service: the owner.
    """

    def __init__(self, home: Home, service: str) -> None:
        self._home = home
        self._service = service
        self._path = home.databases / f"{service}.sqlite"

    @contextmanager
    def away(self) -> Iterator[None]:
        """Replace it by a link to nowhere, and kill the process that had it open."""
        with undo_note(self._home, undo_actions.bring_back, path=str(self._path)):
            with held(self._home, self._service):
                hide.put_away(self._path)
            yield

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Begin a transaction that writes, on another connection, and keep it open."""
        holder = sqlite3.connect(self._path, _LOCK_S, isolation_level=None, check_same_thread=False)
        try:
            with undo_note(self._home, let_write, service=self._service) as note:
                holder.execute("BEGIN EXCLUSIVE")
                with end_when_cleared(note, holder.close):
                    yield
        finally:
            holder.close()

    @contextmanager
    def full(self) -> Iterator[None]:
        """Let the kernel refuse every write of the service's processes to any file."""
        if not hasattr(psutil.Process, "rlimit"):
            raise ValueError(
                "only Linux can keep a process from writing: database_full is not to "
                "be had here, database_away is"
            )
        processes = [
            psutil.Process(process["pid"]) for process in running(self._home, self._service)
        ]
        limits = [
            (process.pid, spawn.birth(process.pid), *process.rlimit(psutil.RLIMIT_FSIZE))
            for process in processes
        ]
        with undo_note(self._home, undo_actions.lift_limit, processes=limits):
            for process, (*_, hard) in zip(processes, limits, strict=True):
                process.rlimit(psutil.RLIMIT_FSIZE, (0, hard))
            yield

    @contextmanager
    def row_held(self, number: int) -> Iterator[None]:  # noqa: ARG002  # a schema has rows to hold
        """Refuse: there is one lock for all of a file."""
        raise ValueError(
            "SQLite locks a whole database and never a row: row_held needs MySQL "
            "(LABKIT_MYSQL), database_locked is to be had here"
        )
        yield


class Schema:
    """A schema on a MySQL server, and the account that alone reaches it.

    Args:
        home: of the lab.
        server: SQLAlchemy URL of a user who may make accounts.
        service: the owner.
        url: of the schema, for the service's account.
        table: the main one.
    """

    def __init__(self, home: Home, server: str, service: str, url: str, table: Table) -> None:
        self._home = home
        self._service = service
        self._table = table
        self._engine = create_engine(server, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self._user = make_url(url).username
        self._schema = str(make_url(url).database)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Lock the account, and kill its connections."""
        with undo_note(self._home, unlock_account, service=self._service):
            self._do(f"ALTER USER '{self._user}'@'%' ACCOUNT LOCK")
            with self._engine.connect() as connection:
                wait_until(
                    lambda: not self._kill_all(connection), f"{self._user} has no connection"
                )
            yield

    def unlock(self) -> None:
        """Let the account in."""
        self._do(f"ALTER USER '{self._user}'@'%' ACCOUNT UNLOCK")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock each table on another connection, so that the service can only read."""
        with self._holder(self._engine) as holder:
            tables = ", ".join(f"`{self._schema}`.`{table}` READ" for table in self._tables(holder))
            holder.execute(text(f"SET lock_wait_timeout = {_LOCK_S}"))
            holder.execute(text(f"LOCK TABLES {tables}"))
            yield

    @contextmanager
    def full(self) -> Iterator[None]:
        """Let the server answer each insert with the error of a table that cannot grow.

        A disk cannot be filled for one schema alone, nor without harm to what else is on it.
        """
        with self._engine.connect() as connection:
            tables = self._tables(connection)
        with undo_note(self._home, let_grow, service=self._service):
            self._do(
                *(
                    f"CREATE TRIGGER `{self._schema}`.`{FULL_TRIGGER}{table}` BEFORE INSERT ON "
                    f"`{self._schema}`.`{table}` FOR EACH ROW SIGNAL SQLSTATE 'HY000' SET "
                    f"MYSQL_ERRNO = {_TABLE_IS_FULL}, "
                    f"MESSAGE_TEXT = 'The table ''{table}'' is full'"
                    for table in tables
                )
            )
            yield

    def drop_triggers(self) -> None:
        """Let the tables grow."""
        with self._engine.connect() as connection:
            for trigger in full_triggers(connection, self._schema):
                connection.execute(text(f"DROP TRIGGER `{self._schema}`.`{trigger}`"))

    @contextmanager
    def row_held(self, number: int) -> Iterator[None]:
        """Lock the row on another connection, and do not commit."""
        table = self._table
        row = next(iter(table.primary_key)) == number
        engine = create_engine(self._engine.url.set(database=self._schema), poolclass=NullPool)
        with self._holder(engine) as holder:
            if not holder.execute(select(table).where(row).with_for_update()).first():
                raise ValueError(f"{table.name} has no row {number}")
            yield

    def end(self, connection: int) -> None:
        """End a connection of the server, which may be gone already."""
        try:
            self._do(f"KILL {connection}")
        except DBAPIError as error:
            if not is_unknown_thread(error):
                raise

    @contextmanager
    def _holder(self, engine: Engine) -> Iterator[Connection]:
        """Open a connection that holds locks for a block; anybody can end it by its note."""
        holder = engine.connect()
        number = int(holder.execute(text("SELECT CONNECTION_ID()")).scalar_one())
        with undo_note(self._home, end_holder, service=self._service, connection=number):
            try:
                yield holder
            finally:
                holder.invalidate()  # it is closed here and now, and was perhaps ended
                holder.close()

    def _do(self, *statements: str) -> None:
        with self._engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def _tables(self, connection: Connection) -> list[str]:
        query = "SELECT table_name FROM information_schema.tables WHERE table_schema = :schema"
        return list(connection.execute(text(query), {"schema": self._schema}).scalars())

    def _kill_all(self, connection: Connection) -> int:
        """Kill the account's connections, and return how many there were."""
        query = "SELECT id FROM information_schema.processlist WHERE user = :user"
        numbers = connection.execute(text(query), {"user": self._user}).scalars().all()
        for number in numbers:
            with suppress(OperationalError):  # it went by itself
                connection.execute(text(f"KILL {number}"))
        return len(numbers)
