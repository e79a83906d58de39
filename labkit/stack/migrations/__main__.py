"""Migrations as a program, of the release that runs: `python -m labkit.stack.migrations`."""

import sys
from typing import Any

from alembic.util import CommandError
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError

from labkit.files import take_lock
from labkit.home import Home
from labkit.runtime.db.engines import open_engine
from labkit.stack.boundaries import HELPER, failpoints_in
from labkit.stack.migrations import running
from labkit.stack.releases import program

_ANSWER_S, _ALONE_S = 60.0, 30
_OTHERS_S = 60.0  # that another migration of this home may take


def migrate(home: Home, service: str, to: str) -> None:
    """Bring the database of one service to a revision.

    Args:
        home: where the lab lives.
        service: whose database it is.
        to: the revision; where the database is there or beyond, nothing is done.
    """
    failpoints = failpoints_in(home, HELPER)
    engine = open_engine(home.database_url(service), seconds=_ANSWER_S)

    @event.listens_for(engine, "before_cursor_execute")
    def _before(*_statement: Any) -> None:
        failpoints.cross("helper.migrate.before_statement")

    @event.listens_for(engine, "after_cursor_execute")
    def _after(*_statement: Any) -> None:
        failpoints.cross("helper.migrate.after_statement")

    with engine.connect() as connection:
        if engine.dialect.name == "mysql":
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            _be_alone(connection)
        running.upgrade(connection, service, to)
    engine.dispose()


def _be_alone(connection: Connection) -> None:
    """Wait until no session works on a schema any more for a migration that was killed.

    A MySQL server finishes the statement of a client before it notices that the client is gone.
    The lock goes with the session that has it.

    Raises:
        TimeoutError: somebody else migrates this schema.
    """
    # nobody asks this session anything while rows are copied on another
    connection.execute(text("SET wait_timeout = 86400"))
    query = text("SELECT GET_LOCK(CONCAT('migrating ', DATABASE()), :seconds)")
    if not connection.execute(query, {"seconds": _ALONE_S}).scalar_one():
        raise TimeoutError(f"somebody else migrates {connection.engine.url.database}")


def main() -> None:
    """Run the migrations that the input names; print one line where one fails."""
    spec = program.read_spec()
    home, service = Home(spec["home"]), ""
    try:
        if take_lock(home.migrations_lock_file, _OTHERS_S) is None:
            raise TimeoutError("another migration does not end")
        for service, to in spec["databases"].items():
            migrate(home, service, to)
    except (CommandError, DBAPIError, OSError, ValueError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        where = f"the database of {service}" if service else "the databases"
        sys.exit(f"{where}: {' '.join(str(cause).split())}")


if __name__ == "__main__":
    main()
