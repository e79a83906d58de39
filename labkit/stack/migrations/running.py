"""Running the revisions of one database, on a connection to it."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from labkit.stack.migrations.revisions import current, revisions_of

_HERE = Path(__file__).parent


def upgrade(connection: Connection, service: str, to: str) -> None:
    """Bring the database of a service to a revision; nothing is done where it is there or beyond.

    Args:
        connection: to the database, without a transaction.
        service: whose database it is.
        to: the revision.

    Raises:
        ValueError: this release knows no such revision.
    """
    known = {str(revision): revision for revision in revisions_of(service)}
    if to not in known:
        raise ValueError(f"this release knows no revision {to} of the database of {service}")
    at = current(connection)
    connection.rollback()
    if at and at >= known[to]:
        return
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    config.set_main_option("version_locations", str(_HERE / service))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    command.upgrade(config, to)
