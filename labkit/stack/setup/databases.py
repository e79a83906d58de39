"""The databases of the services: a file each, or a schema and a user each on a MySQL server."""

import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from sqlalchemy import URL, Connection, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from labkit.files import locked, write_whole
from labkit.home import DATABASES, Home
from labkit.runtime.db.engines import open_engine
from labkit.stack.boundaries import Cross, uncrossed
from labkit.stack.releases.seeding import seed_for_all
from labkit.stack.setup.seeds import Seeds, files

#: Begins the names of the triggers by which a fault has a table be full.
FULL_TRIGGER = "labkit_full_"
COLLATION = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
_FORM = "LABKIT_MYSQL must look like mysql+pymysql://user:password@host:3306/"


class MySQLUnusable(Exception):
    """The server cannot be used, or may lose what it commits; the message says what to do."""


def prepare(home: Home, server: str) -> None:
    """Make a schema for each service, and a user who can reach nothing else.

    Args:
        home: the home of the lab; its secret tells its schemas from those of other labs there.
        server: SQLAlchemy URL of a user who may make schemas and users.

    Raises:
        MySQLUnusable: the server is away, does not let this user in or make what is needed, or does
            not put each commit on disk.
    """
    admin, notes = _parse(server), home.schema_notes()
    urls = {name: _url(home, admin, name, notes.urls.get(name)) for name in DATABASES}
    engine = open_engine(server)
    try:
        with engine.connect() as connection:
            _check(connection)
            made = [_make(connection, url) for url in urls.values()]
    except DBAPIError as error:
        where = f"the MySQL server at {admin.host}:{admin.port or 3306}"
        raise MySQLUnusable(f"{where}, which LABKIT_MYSQL names, says: {error.orig}") from None
    finally:
        engine.dispose()
    _note(home, urls, filled=notes.filled and not any(made))


def put_aside(home: Home) -> None:
    """Use files from now on; the schemas on a server stay there, and their URLs in the notes."""
    notes = home.schema_notes()
    if notes.used:
        _note(home, notes.urls, filled=notes.filled, used=False)


def fill(
    home: Home,
    seeds: Seeds,
    now: datetime,
    cross: Cross = uncrossed,
    keep: Sequence[int] = (),
) -> None:
    """Empty all databases and put the seeds in: all of it, or it counts as nothing.

    The history of what clients were answered goes with the data that it is of, not before.

    Args:
        home: the home of the databases.
        seeds: the amount of data.
        now: business time of the opening rows.
        cross: called with the name of each boundary.
        keep: descriptors of locks that whoever does it keeps.
    """
    with locked(home.migrations_lock_file):
        _fill(home, seeds, now, cross, keep)


def _fill(home: Home, seeds: Seeds, now: datetime, cross: Cross, keep: Sequence[int]) -> None:
    if urls := home.schemas():
        _note(home, urls, filled=False)
        _forget_history(home)
        seed_for_all(home, urls, seeds, now, cross, keep)
        _note(home, urls, filled=True)
        return
    fresh, old = home.folder / "databases.new", home.folder / "databases.old"
    for folder in (fresh, old):
        shutil.rmtree(folder, ignore_errors=True)
    fresh.mkdir()
    seed_for_all(home, files(fresh), seeds, now, cross, keep)
    # File by file, a log that holds acknowledged orders could go, and its database stay.
    cross("helper.put_aside.before_rename")
    home.databases.rename(old)
    _forget_history(home)
    cross("helper.put_aside.after_rename")
    cross("helper.fill.before_rename")
    fresh.rename(home.databases)
    cross("helper.fill.after_rename")
    shutil.rmtree(old)


def _forget_history(home: Home) -> None:
    with suppress(FileNotFoundError):  # it is kept where a test asks for it
        os.truncate(home.history_file, 0)


def _parse(server: str) -> URL:
    try:
        url = make_url(server)
    except ArgumentError:
        raise MySQLUnusable(_FORM) from None  # and no word of what may hold a password
    if url.drivername != "mysql+pymysql" or not url.host:
        raise MySQLUnusable(_FORM)
    return url


def _url(home: Home, admin: URL, name: str, earlier: str | None) -> URL:
    """Return the service's own URL on the server, with the password of its earlier URL."""
    own = f"labkit_{home.mark}_{name}"
    password = make_url(earlier).password if earlier else secrets.token_urlsafe(24)
    return admin.set(username=own, password=str(password), database=own)


def _make(connection: Connection, url: URL) -> bool:
    """Make one schema and its user, where they are not there yet; return True if it is new."""
    count = "SELECT count(*) FROM information_schema.schemata WHERE schema_name = :name"
    new = not connection.execute(text(count), {"name": url.database}).scalar_one()
    who = f"'{url.username}'@'%'"
    for statement in (
        # two keys that differ in a capital are two keys, as they are on SQLite
        f"CREATE DATABASE IF NOT EXISTS `{url.database}` {COLLATION}",
        f"CREATE USER IF NOT EXISTS {who} IDENTIFIED BY '{url.password}'",
        f"ALTER USER {who} IDENTIFIED BY '{url.password}' ACCOUNT UNLOCK",
        f"GRANT ALL ON `{url.database}`.* TO {who}",
    ):
        connection.execute(text(statement))
    for trigger in full_triggers(connection, str(url.database)):
        connection.execute(text(f"DROP TRIGGER `{url.database}`.`{trigger}`"))
    return new


def full_triggers(connection: Connection, schema: str) -> list[str]:
    """Return the triggers that a fault has in a schema, or left there."""
    query = (
        "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = :schema "
        "AND trigger_name LIKE :names"
    )
    values = {"schema": schema, "names": f"{FULL_TRIGGER}%"}
    return list(connection.execute(text(query), values).scalars())


def _check(connection: Connection) -> None:
    query = "SELECT @@innodb_flush_log_at_trx_commit, @@log_bin, @@sync_binlog"
    flush, logs, sync = connection.exec_driver_sql(query).one()
    for is_safe, setting in (
        (flush == 1, "innodb_flush_log_at_trx_commit"),
        (not logs or sync == 1, "sync_binlog"),
    ):
        if not is_safe:
            raise MySQLUnusable(
                "the MySQL server answers before a commit is on disk, so that it may lose money: "
                f"set {setting} = 1"
            )


def _note(home: Home, urls: Mapping[str, str | URL], *, filled: bool, used: bool = True) -> None:
    texts = {
        name: make_url(url).render_as_string(hide_password=False) for name, url in urls.items()
    }
    write_whole(
        home.schemas_file, json.dumps({"urls": texts, "filled": filled, "used": used}), durable=True
    )
