"""A table of parcels and statements of every kind on it, with values for each."""

from datetime import datetime
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, MetaData, String, Table, delete, func, select, update
from sqlalchemy.dialects import sqlite

from labkit.runtime.db.statements import statement
from labkit.runtime.db.tables import Moment

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
