"""The schema of each service's database, as releases need it: looked at, and brought there.

The revisions of a release are run by its own code, in a process of their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

from labkit.home import Home
from labkit.runtime.db.engines import open_engine
from labkit.runtime.db.errors import is_away
from labkit.runtime.db.tables import NOTHING_FORGOTTEN, forgotten
from labkit.runtime.wiring import Service
from labkit.shop.wiring import SERVICES
from labkit.stack.migrations.revisions import (
    Phase,
    Revision,
    complaint,
    current,
    needed,
    stamp,
)
from labkit.stack.releases import program
from labkit.stack.releases.notes import releases_of
from labkit.stack.releases.release import Release, own

#: The services that have a database of the shop.
STATEFUL = tuple(name for name, service in SERVICES.items() if service.contract)


@dataclass(frozen=True)
class Schema:
    """The database of one service beside a release.

    Attributes:
        service: whose database it is.
        release: the release.
        at: the revision that the database is at; None for release 1.0.
    """

    service: str
    release: Release
    at: Revision | None

    @property
    def lacks(self) -> Revision | None:
        """Return the revision that the release needs and the database has not; None if none."""
        need = needed(self.release.number, self.release.revisions(self.service))
        return need if need and (self.at is None or self.at < need) else None

    @property
    def complaint(self) -> str:
        """Return why the release cannot use the database, in one line; empty where it can."""
        known = self.release.revisions(self.service)
        return complaint(self.service, self.release.number, known, self.at)

    def own_revision(self, phase: Phase) -> Revision | None:
        """Return what the release does in a phase, if anything is left to do."""
        revision = Revision(self.release.number, phase)
        is_known = revision in self.release.revisions(self.service)
        return revision if is_known and (self.at is None or self.at < revision) else None


def schema_of(home: Home, service: str, release: Release) -> Schema:
    """Look at the database of a service, for a release."""
    with _begin(home, service) as connection:
        return Schema(service, release, current(connection))


def migrate(
    home: Home, release: Release, to: Mapping[str, Revision], keep: Sequence[int] = ()
) -> None:
    """Bring databases to revisions, by the code of the release that knows them.

    Args:
        home: where the lab lives.
        release: the release.
        to: service → revision.
        keep: descriptors of locks that the process which does it keeps for as long as it lives.

    Raises:
        RuntimeError: it failed, or was killed: what is done stays, and it can be run again.
    """
    spec = {
        "home": str(home.folder),
        "databases": {service: str(revision) for service, revision in to.items()},
    }
    try:
        program.run("labkit.stack.migrations", release, spec, keep)
    except RuntimeError as error:
        text = f"release {release.number} cannot migrate: {error}; it can be run again"
        raise RuntimeError(text) from None


def forget_migration(home: Home, service: str, release: Release) -> None:
    """Note that the rows of a service are to be migrated again, before it goes back to a release.

    What the earlier release writes from now on lacks what the migration has filled in.
    """
    with _begin(home, service) as connection:
        at = current(connection)
        if at and at.release > release.number and at.phase is Phase.MIGRATE:
            stamp(connection, Revision(at.release, Phase.EXPAND))


def make_ready(home: Home, keep: Sequence[int] = ()) -> None:
    """Expand each database as the release of its service needs it, before any service starts.

    The newest release that runs, or whose tools are ours, reads every database: each is expanded
    for it, too.

    Args:
        home: where the lab lives.
        keep: descriptors of locks that whoever works on the databases keeps.

    Raises:
        RuntimeError: a release cannot use its database; one line that says why.
    """
    noted = releases_of(home)
    newest = max([own(), *noted.values()], key=lambda release: release.number)
    for service in STATEFUL:
        release = noted.get(service, own())
        with _begin(home, service) as connection:
            _add_runtime_tables(connection)
            schema = Schema(service, release, current(connection))
        if not schema.lacks and schema.complaint:
            raise RuntimeError(schema.complaint)
        for each in dict.fromkeys((release, newest)):
            if lacks := Schema(service, each, schema.at).lacks:
                migrate(home, each, {service: lacks}, keep)


def add_runtime_tables(home: Home) -> None:
    """Make what the databases of an older labkit lack: a table of the runtime, and its rows."""
    for service in STATEFUL:
        with _begin(home, service) as connection:
            _add_runtime_tables(connection)


def _add_runtime_tables(connection: Connection) -> None:
    """Make the table and its rows: who did it before may have been killed between the two."""
    forgotten.create(connection, checkfirst=True)
    parts = set(connection.execute(select(forgotten.c.part)).scalars())
    if lacking := [row for row in NOTHING_FORGOTTEN if row["part"] not in parts]:
        connection.execute(forgotten.insert(), lacking)


@contextmanager
def _begin(home: Home, service: str) -> Iterator[Connection]:
    """Open the database of a service for one transaction."""
    engine = open_engine(home.database_url(service))
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def refuse_unusable(home: Home, service: Service) -> None:
    """Refuse to serve on a database that this release cannot use.

    Raises:
        RuntimeError: why it cannot, in one line.
    """
    if not service.contract:
        return
    try:
        schema = schema_of(home, service.name, own())
    except DBAPIError as error:
        if is_away(error):  # it is waited for elsewhere
            return
        raise
    if schema.complaint:
        raise RuntimeError(schema.complaint)


def plan_of(home: Home) -> list[str]:
    """Return what `make_ready` will do, in words: a line for each database that it changes."""
    noted = releases_of(home)
    schemas = [schema_of(home, service, noted.get(service) or own()) for service in STATEFUL]
    return [
        f"the database of {schema.service} is of release "
        f"{schema.at.release if schema.at else '1.0'}: it is expanded for "
        f"{schema.release.number} ({schema.lacks}), and nothing is dropped"
        for schema in schemas
        if schema.lacks
    ]
