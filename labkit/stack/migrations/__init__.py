"""Migrations: how the database of each service grows from release to release, by Alembic.

A folder for each service holds its revisions, `r1_1_expand.py` for what release 1.1 adds. The
databases of release 1.0 have none: `labkit up` makes them from the tables of the shop, and so it
does with those of a later release, which it stamps.
"""

from pathlib import Path


def revises() -> bool:
    """Return True if this release changes the databases of an earlier one."""
    return any(Path(__file__).parent.glob("*/r*.py"))
