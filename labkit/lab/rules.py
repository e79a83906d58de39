"""The two kinds of invariant: within one database, and across several."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, CursorResult

from labkit.lab.crossings import Finding
from labkit.lab.data import Reader
from labkit.shop.tables import TABLES


@dataclass(frozen=True)
class Local:
    """An invariant within one database.

    Attributes:
        name: what it is called.
        says: what must be true, in a sentence.
        service: whose database; empty: each of them.
        looks_at: SQL that counts what is looked at.
        breaches: SQL that finds what breaks it, a row each.
    """

    name: str
    says: str
    service: str
    looks_at: str
    breaches: str

    def look(self, reader: Reader) -> Finding:
        """Count and find in one snapshot of each database."""
        looked_at, broken = 0, []
        for service in [self.service] if self.service else TABLES:
            with reader.snapshot(service) as connection:
                looked_at += _run(connection, self.looks_at).scalar_one()
                rows = _run(connection, self.breaches)
                broken += [f"{service}: {dict(row._mapping)}" for row in rows]
        return Finding(looked_at, broken)


def _run(connection: Connection, sql: str) -> CursorResult[Any]:
    """Run a query as it stands: to MySQL's driver a `%` in it would be a place for a parameter."""
    return connection.exec_driver_sql(sql, execution_options={"no_parameters": True})


@dataclass(frozen=True)
class Across:
    """An invariant over several databases.

    Attributes:
        name: what it is called.
        says: what must be true, in a sentence.
        look: finds what breaks it.
    """

    name: str
    says: str
    look: Callable[[Reader], Finding]
