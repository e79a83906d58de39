"""Statements that are built once give what SQLAlchemy gives for the same statement."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, create_engine, select
from sqlalchemy.exc import IntegrityError, OperationalError

from labkit.runtime.db.compiled import cursor_of
from labkit.runtime.db.statements import insertion
from tests.support.parcels import (
    BUILT,
    COLUMNS,
    ROW,
    VALUES,
    core,
    find,
    fixed,
    of_an_absent_table,
    parcel,
    replace_all,
    take,
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
