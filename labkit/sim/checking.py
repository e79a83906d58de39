"""Checking a life: the invariants, on the databases in memory."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from labkit.ops.history import Exchange
from labkit.ops.invariants import answers, views
from labkit.ops.invariants.check import INVARIANTS
from labkit.ops.invariants.kinds import Clocks, Local, texts_of
from labkit.ops.invariants.mirror import connect
from labkit.sim.disk import SimDisk

#: SQL that finds something in flight, if anything is: what will change by itself. As
#: `labkit.ops.in_flight` has it, for people.
_IN_FLIGHT = """
SELECT 'an order is undecided' FROM "order".trade_order WHERE order_status = 0
UNION ALL SELECT 'a message of ' || service || ' is on its way' FROM outbox WHERE status IN (0, 1)
UNION ALL SELECT 'a message waits in ' || service FROM inbox WHERE status = 0
UNION ALL SELECT 'a refund is not answered' FROM pay.trade_refund WHERE state = 0
UNION ALL SELECT 'a payment is closed here, and perhaps not there' FROM pay.trade_pay
  WHERE is_paid = 2 AND next_check IS NOT NULL
UNION ALL SELECT 'a payment is paid there, and not here' FROM pay.trade_pay p
  JOIN platform.platform_trade t ON t.out_trade_no = p.pay_id
  WHERE p.is_paid <> 1 AND t.trade_status = 'TRADE_SUCCESS'
UNION ALL SELECT 'a notice is to be sent' FROM platform.platform_notice WHERE next_try <= :now
LIMIT 1
"""
#: SQL that finds an order that waits to be paid.
_UNPAID = """SELECT 1 FROM "order".trade_order WHERE order_status = 1 AND pay_status = 0 LIMIT 1"""


class _Group:
    """Invariants that are checked at once: one statement says which of them are broken.

    Args:
        invariants: their names, and SQL that selects their breaches.
    """

    def __init__(self, invariants: Sequence[tuple[str, str]]) -> None:
        self._invariants = invariants
        self._which_are_broken = " UNION ALL ".join(
            f"SELECT {number} WHERE EXISTS ({sql})" for number, (_, sql) in enumerate(invariants)
        )

    def breaches(self, mirror: sqlite3.Connection, clocks: Clocks) -> list[str]:
        """Return the breaches of all, in words."""
        numbers = [number for (number,) in mirror.execute(self._which_are_broken, dict(clocks))]
        return [
            f"{name}: {text}"
            for name, sql in (self._invariants[number] for number in numbers)
            for text in texts_of(mirror, sql, clocks)
        ]


class Checker:
    """The invariants, on the databases of all services.

    Args:
        disks: service → its database.
    """

    def __init__(self, disks: Mapping[str, SimDisk]) -> None:
        self._mirror = connect()
        self._mirror.execute("PRAGMA read_uncommitted = 1")
        for name, disk in disks.items():
            self._mirror.execute(f'ATTACH ? AS "{name}"', [disk.uri])
        views.create_wiring(self._mirror)
        answers.create_empty(self._mirror)
        local = [invariant for invariant in INVARIANTS if isinstance(invariant, Local)]
        self._within = {
            name: _Group(
                [(each.name, each.sql_in(name)[1]) for each in local if name in each.services]
            )
            for name in disks
        }
        self._across = _Group(
            [(each.name, each.breach_sql) for each in INVARIANTS if not isinstance(each, Local)]
        )

    def in_flight(self, now: str) -> str:
        """Return something that is in flight, in words; empty if nothing is."""
        item = self._mirror.execute(_IN_FLIGHT, {"now": now}).fetchone()
        return str(item[0]) if item else ""

    def is_unpaid(self) -> bool:
        """Return True if an order waits to be paid."""
        return self._mirror.execute(_UNPAID).fetchone() is not None

    def check_within(self, service: str, clocks: Clocks) -> list[str]:
        """Return the breaches within one database, which must never be."""
        return self._within[service].breaches(self._mirror, clocks)

    def check(self, exchanges: Iterable[Exchange], clocks: Clocks) -> list[str]:
        """Return all breaches, when nothing is in flight any more."""
        views.fill_undecided(self._mirror)
        answers.fill(self._mirror, exchanges)
        breaches = [text for name in self._within for text in self.check_within(name, clocks)]
        return breaches + self._across.breaches(self._mirror, clocks)

    def rows(self, service: str, table: str) -> list[sqlite3.Row]:
        """Return the rows of a table."""
        cursor = self._mirror.cursor()
        cursor.row_factory = sqlite3.Row
        return list(cursor.execute(f'SELECT * FROM "{service}"."{table}"'))
