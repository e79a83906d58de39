"""The revisions of a database: which of them a release needs, and which it can live with.

A release changes a database in phases, known as *parallel change* (Fowler) or expand and
contract. It *expands* it before its first instance starts, and adds only what the release before
does not notice. It *migrates* the rows when its last instance has started. It *closes* the way back
to the release before, and then *contracts* the database: it drops what nobody uses any more.
"""

import re
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, inspect, text

import labkit

#: Alembic's own table: one row with the revision that a database is at.
VERSION_TABLE = "alembic_version"
_FILE = re.compile(r"r(\d+)_(\d+)_(expand|migrate|close|contract)\.py")
_REVISION = re.compile(r"(\d+)\.(\d+)_(expand|migrate|close|contract)")
_RELEASE = re.compile(r"(\d+)\.(\d+)")
_PACKAGE = Path(labkit.__file__).parent


class Phase(IntEnum):
    """The phases of a release in a database, in their order."""

    EXPAND = 1
    MIGRATE = 2
    CLOSE = 3
    CONTRACT = 4


class ReleaseNumber(NamedTuple):
    """The number of a release of the shop, as 1.1."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    def is_next_to(self, other: "ReleaseNumber") -> bool:
        """Return True if two releases are the same or neighbours, so that they may run together."""
        first, second = sorted((self, other))
        follows = (first.major, first.minor + 1), (first.major + 1, 0)
        return first == second or tuple(second) in follows


class Revision(NamedTuple):
    """A revision of a database: what a release does to it in one phase; ordered as they are run."""

    release: ReleaseNumber
    phase: Phase

    def __str__(self) -> str:
        return f"{self.release}_{self.phase.name.lower()}"


def parse_release(text: str) -> ReleaseNumber:
    """Parse the number of a release.

    Raises:
        ValueError: it is none.
    """
    match = _RELEASE.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is no number of a release: write one like 1.1")
    return ReleaseNumber(int(match[1]), int(match[2]))


def revisions_of(service: str, package: Path = _PACKAGE) -> list[Revision]:
    """Return the revisions that a release knows of a service's database, in their order.

    Args:
        service: whose database it is.
        package: folder of the release's package. Defaults to the one that runs.
    """
    matches = [
        _FILE.fullmatch(file.name)
        for file in (package / "stack" / "migrations" / service).glob("*")
    ]
    return sorted(_of(match) for match in matches if match)


def current(connection: Connection) -> Revision | None:
    """Return the revision that a database is at; None for that of release 1.0.

    Raises:
        ValueError: it is at a revision that is none of ours.
    """
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    name = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    if name is None:
        return None
    match = _REVISION.fullmatch(str(name))
    if not match:
        raise ValueError(f"{VERSION_TABLE} names {name!r}, which no release of the shop has made")
    return _of(match)


def stamp(connection: Connection, revision: Revision) -> None:
    """Note that a database is as this revision leaves it."""
    columns = "(version_num VARCHAR(32) NOT NULL)"
    connection.execute(text(f"CREATE TABLE IF NOT EXISTS {VERSION_TABLE} {columns}"))
    connection.execute(text(f"DELETE FROM {VERSION_TABLE}"))
    connection.execute(text(f"INSERT INTO {VERSION_TABLE} VALUES (:name)"), {"name": str(revision)})


def needed(release: ReleaseNumber, revisions: Sequence[Revision]) -> Revision | None:
    """Return the last revision without which a release cannot run; None if it needs none."""
    return max(
        (each for each in revisions if each.release != release or each.phase is Phase.EXPAND),
        default=None,
    )


def complaint(
    service: str, release: ReleaseNumber, revisions: Sequence[Revision], at: Revision | None
) -> str:
    """Return why a release cannot use a database, in one line; empty where it can.

    Args:
        service: whose database it is.
        release: the release.
        revisions: those that the release knows.
        at: the revision that the database is at.
    """
    if at and at.release > release:
        if at.phase >= Phase.CLOSE:
            return (
                f"the database of {service} is contracted for release {at.release}, which drops "
                f"what {release} uses: there is no way back to {release}"
            )
        if not at.release.is_next_to(release):
            return f"the database of {service} is of release {at.release}, too late for {release}"
    need = needed(release, revisions)
    if need and (at is None or at < need):
        known = at.release if at else "1.0"
        return (
            f"the database of {service} is of release {known}, and {release} needs it expanded "
            f"({need}): labkit upgrade {service} --to {release}"
        )
    return ""


def _of(match: re.Match[str]) -> Revision:
    return Revision(ReleaseNumber(int(match[1]), int(match[2])), Phase[match[3].upper()])
