"""Invariants about time, on tables of their own."""

import sqlite3

from labkit.ops.invariants.deadlines import _is_ahead

LATEST = {"latest": "2026-01-02"}


def test_a_time_to_come_is_told_in_the_same_words_while_more_are_noted() -> None:
    """A breach is told where each look finds it: one whose words change would never be."""
    database = sqlite3.connect(":memory:")
    database.execute("ATTACH ':memory:' AS log")
    database.execute("CREATE TABLE log.trade (add_time TEXT, pay_time TEXT)")
    look = _is_ahead("log", "trade", ["add_time", "pay_time"])
    database.execute("INSERT INTO log.trade VALUES ('2026-01-01', NULL)")
    assert database.execute(look, LATEST).fetchall() == []
    database.execute("INSERT INTO log.trade VALUES ('2026-01-01', '2026-01-03')")
    first = database.execute(look, LATEST).fetchall()
    database.execute("INSERT INTO log.trade VALUES ('2027-01-01', '2026-01-04')")
    assert (
        first
        == database.execute(look, LATEST).fetchall()
        == [("log.trade has the time 2026-01-03",)]
    )
