"""Statements that are built once give what SQLAlchemy gives for the same statement."""

import importlib
import pkgutil
from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.mysql import pymysql
from sqlalchemy.exc import IntegrityError, OperationalError

import labkit.runtime
import labkit.shop
from labkit.runtime.db.compiled import cursor_of
from labkit.runtime.db.statements import Statement, insertion, statement
from labkit.runtime.db.tables import Moment, metadata

INT64 = 2**63 - 1
parcel = Table(
    "parcel",
    MetaData(),
    Column("parcel_id", BigInteger, primary_key=True, autoincrement=False),
    Column("amount", BigInteger, nullable=False),
    Column("note", String(40), nullable=False),
    Column("moment", Moment),
)
absent = Table("absent", MetaData(), Column("parcel_id", BigInteger))
COLUMNS = tuple(parcel.c.keys())


def find(parcel_id: int) -> Any:
    return select(parcel).where(parcel.c.parcel_id == parcel_id)


def find_by_note(note: str, at_most: int) -> Any:
    of = select(parcel.c.moment, parcel.c.parcel_id).where(parcel.c.note == note)
    return of.order_by(parcel.c.amount.desc(), parcel.c.parcel_id).limit(at_most)


def since(moment: datetime) -> Any:
    return select(func.count().label("how_many"), func.max(parcel.c.moment).label("last")).where(
        parcel.c.moment >= moment
    )


def replace_all(parcel_id: int, note: str, moment: datetime | None) -> Any:
    return update(parcel).where(parcel.c.parcel_id == parcel_id).values(note=note, moment=moment)


def take(parcel_id: int, amount: int) -> Any:
    # the column that is set and the parameter have one name, and the value is another
    enough = (parcel.c.parcel_id == parcel_id) & (parcel.c.amount >= amount)
    return update(parcel).where(enough).values(amount=parcel.c.amount - amount, note="成都")


def fixed(amount: int, note: str) -> Any:
    # fixed values beside parameters of the same name as their columns
    return (
        update(parcel)
        .where(parcel.c.amount == amount, parcel.c.note != note)
        .values(amount=7, note="fixed", moment=datetime(2026, 1, 1))
    )


def forget(parcel_id: int) -> Any:
    return delete(parcel).where(parcel.c.parcel_id == parcel_id)


def of_an_absent_table(parcel_id: int) -> Any:
    return select(absent).where(absent.c.parcel_id == parcel_id)


ids = st.integers(1, 3) | st.sampled_from([INT64, -INT64])
amounts = st.integers(0, 9) | st.sampled_from([INT64, -INT64 - 1])
notes = st.sampled_from(["", "刘备", "a'b;--", "%s :its_note ?"])
moments = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1))
VALUES: dict[Any, dict[str, st.SearchStrategy[Any]]] = {
    find: {"parcel_id": ids},
    find_by_note: {"note": notes, "at_most": st.integers(0, 3)},
    since: {"moment": moments},
    replace_all: {"parcel_id": ids, "note": notes, "moment": st.none() | moments},
    take: {"parcel_id": ids, "amount": amounts},
    fixed: {"amount": amounts, "note": notes},
    forget: {"parcel_id": ids},
    of_an_absent_table: {"parcel_id": ids},
}
BUILT = {build: statement(build) for build in VALUES}
ROW = st.fixed_dictionaries(
    {"parcel_id": ids, "amount": amounts, "note": notes, "moment": st.none() | moments}
)
_done = st.one_of(
    *(st.tuples(st.just(build), st.fixed_dictionaries(of)) for build, of in VALUES.items()),
    st.tuples(st.sampled_from(["insert", "insert_once"]), ROW),
)


def opened() -> Engine:
    """A database in memory, with something to find in it."""
    engine = create_engine("sqlite://")
    parcel.create(engine)
    with engine.begin() as connection:
        for parcel_id, moment in ((2, datetime(2026, 1, 1)), (3, None)):
            row = {"parcel_id": parcel_id, "amount": 5, "note": "刘备", "moment": moment}
            connection.execute(parcel.insert(), row)
    return engine


def ours(connection: Connection, build: Any, values: dict[str, Any]) -> tuple[Any, int]:
    """Return what the statement that was built once finds, and how many rows it changes."""
    if isinstance(build, str):
        key = (parcel.c.parcel_id,) if build == "insert_once" else ()
        compiled = insertion(parcel, COLUMNS, connection.dialect, key)
        return [], compiled.execute(cursor_of(connection), values).rowcount
    bound = BUILT[build](**values)
    rows = bound.statement.on(connection.dialect).execute(cursor_of(connection), bound.values)
    return [row._asdict() for row in rows.rows], rows.rowcount


def theirs(connection: Connection, build: Any, values: dict[str, Any]) -> tuple[Any, int]:
    """The same of SQLAlchemy itself, which builds it anew with the values in it."""
    done: Any = connection.execute(core(build, values))
    rows = [dict(row) for row in done.mappings()] if done.returns_rows else []
    return rows, done.rowcount


def core(build: Any, values: dict[str, Any]) -> Any:
    """The statement with its values in it."""
    if build == "insert":
        return parcel.insert().values(**values)
    if build == "insert_once":
        return (
            sqlite.insert(parcel)
            .values(**values)
            .on_conflict_do_nothing(index_elements=["parcel_id"])
        )
    return build(**values)


def ended(run: Any, engine: Engine, build: Any, values: dict[str, Any]) -> Any:
    """Return what a statement gave in a transaction of its own, or which error it raised."""
    try:
        with engine.begin() as connection:
            return run(connection, build, values)
    except (IntegrityError, OperationalError, OverflowError) as error:
        return type(error), str(getattr(error, "orig", error))


@given(done=st.lists(_done, max_size=12))
def test_the_same_as_sqlalchemy(done: list[tuple[Any, dict[str, Any]]]) -> None:
    """Whatever is run, the same rows with the same Python values come back, as many rows are
    changed, the same errors are raised, and the same stands in the table in the end."""
    first, other = opened(), opened()
    for build, values in done:
        assert ended(ours, first, build, values) == ended(theirs, other, build, values)
    with first.connect() as compiled, other.connect() as reference:
        stored = "SELECT * FROM parcel ORDER BY parcel_id"  # as the driver has it
        assert compiled.exec_driver_sql(stored).all() == reference.exec_driver_sql(stored).all()
    first.dispose()
    other.dispose()


@pytest.mark.parametrize("build", [replace_all, take, fixed, "insert"])
@given(data=st.data())
def test_many_at_once_are_one_after_the_other(build: Any, data: st.DataObject) -> None:
    """The same rows in the end, the same number of changes, or the same kind of error."""
    values = ROW if build == "insert" else st.fixed_dictionaries(VALUES[build])
    many = data.draw(st.lists(values, min_size=1, max_size=4))

    def each(connection: Connection) -> int:
        return sum(ours(connection, build, arguments)[1] for arguments in many)

    def at_once(connection: Connection) -> int:
        compiled = (
            insertion(parcel, COLUMNS, connection.dialect, ())
            if build == "insert"
            else BUILT[build].on(connection.dialect)
        )
        return compiled.execute_many(cursor_of(connection), many)

    assert changed_by(at_once) == changed_by(each)


def changed_by(run: Callable[[Connection], int]) -> Any:
    """How many rows it changed, and all rows then; or the kind of its error."""
    engine = opened()
    try:
        with engine.begin() as connection:
            return run(connection), sorted(connection.execute(select(parcel)).all(), key=repr)
    except (IntegrityError, OverflowError) as error:
        return type(error)
    finally:
        engine.dispose()


def test_errors_are_sqlalchemys() -> None:
    """A key that is there twice, a table that is not there: the classes that callers catch, with
    the driver's own error in them; and what follows in the transaction is stored as ever."""
    engine = opened()
    row = {"parcel_id": 1, "amount": 1, "note": "", "moment": None}
    with engine.begin() as connection:
        assert ours(connection, "insert", row) == ([], 1)
        assert ours(connection, "insert_once", row) == ([], 0)
        with pytest.raises(IntegrityError, match="UNIQUE") as raised:
            ours(connection, "insert", row)
        assert isinstance(raised.value.orig, engine.dialect.dbapi.IntegrityError)
        with pytest.raises(OperationalError, match="no such table"):
            ours(connection, of_an_absent_table, {"parcel_id": 1})
        change = {"parcel_id": 2, "note": "", "moment": datetime(2026, 1, 1)}
        ours(connection, replace_all, change)
        stored = connection.exec_driver_sql("SELECT moment FROM parcel WHERE parcel_id = 2")
        assert stored.scalar() == "2026-01-01 00:00:00.000000"
    engine.dispose()


def test_one_row_is_one_row() -> None:
    """`first` gives the row with its Python values, or None where there is none; `one` insists."""
    engine = opened()
    with engine.begin() as connection:
        cursor, run = cursor_of(connection), BUILT[find].on(engine.dialect).execute
        first, rows = run(cursor, BUILT[find](2).values), run(cursor, BUILT[find](5).values)
    assert first.first() == first.single() == (2, 5, "刘备", datetime(2026, 1, 1))
    assert rows.first() is None
    with pytest.raises(LookupError, match="0 were found"):
        rows.single()
    engine.dispose()


# MySQL, without a server: what would be said to its driver


class Recorder:
    """A driver's cursor that only notes what it is told."""

    rowcount = 0

    def execute(self, text: str, parameters: Any) -> None:
        """Note it."""
        self.text, self.parameters = text, parameters

    def fetchall(self) -> list[Any]:
        """Find nothing."""
        return []


def of_mysql() -> Any:
    """The dialect, with no more of a driver than it asks for."""
    return pymysql.dialect(dbapi=SimpleNamespace(Error=Exception, paramstyle="format"))


@pytest.mark.parametrize("build", VALUES, ids=lambda build: build.__name__)
@given(data=st.data())
def test_mysql_is_told_the_same(build: Any, data: st.DataObject) -> None:
    """The text, and the values in their places, are what SQLAlchemy would hand to the driver."""
    values = data.draw(st.fixed_dictionaries(VALUES[build]))
    dialect, recorder = of_mysql(), Recorder()
    BUILT[build].on(dialect).execute(recorder, values)
    expected = core(build, values).compile(dialect=dialect)
    assert recorder.text == str(expected)
    assert recorder.parameters == [expected.params[name] for name in expected.positiontup]


def of_the_project() -> dict[str, Statement[Any]]:
    """Every statement of the package that is built once."""
    built = {}
    for package in (labkit.shop, labkit.runtime):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, Statement):
                    built[f"{module.name}.{name}"] = value
    return built


@pytest.mark.parametrize("name", of_the_project())
def test_every_statement_of_the_project_can_be_built(name: str) -> None:
    """In both dialects, with a place for each of its values: no list is in it, whose length would
    be fixed when it is built."""
    for dialect in (of_mysql(), create_engine("sqlite://").dialect):
        recorder = Recorder()
        of_the_project()[name].on(dialect).execute(recorder, AnyValue())
        assert "POSTCOMPILE" not in recorder.text
        assert recorder.text.count("%s" if dialect.name == "mysql" else "?") == len(
            recorder.parameters
        )


class AnyValue(dict[str, Any]):
    """A value for each name."""

    def __missing__(self, _name: str) -> None:
        return None


@pytest.mark.parametrize("table", sorted(metadata.tables))
def test_every_table_can_be_filled_in_both_dialects(table: str) -> None:
    """An insert gives each column its value; once too, where there is a key to tell by."""
    table_ = metadata.tables[table]
    for dialect in (of_mysql(), create_engine("sqlite://").dialect):
        for once in {(), tuple(table_.primary_key)}:
            recorder = Recorder()
            insertion(table_, tuple(table_.c.keys()), dialect, once).execute(recorder, AnyValue())
            assert len(recorder.parameters) == len(table_.c)
