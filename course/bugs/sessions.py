"""Mistakes that a step of this shop cannot make, and that code elsewhere makes every day."""

from typing import Any

from sqlalchemy import Executable

from labkit.runtime.db.engines import open_reader
from labkit.runtime.db.transaction import Transaction


def commit(tx: Transaction) -> None:
    """End the transaction here; what follows is one of its own."""
    tx._flush()
    tx.cursor.execute("COMMIT")
    tx.cursor.execute("BEGIN IMMEDIATE")


def read_apart(tx: Transaction, query: Executable) -> Any:
    """Read the first row that a query finds in a session of its own: it sees what was committed."""
    engine = open_reader(str(tx.connection.engine.url))
    try:
        with engine.begin() as connection:
            return connection.execute(query).first()
    finally:
        engine.dispose()
