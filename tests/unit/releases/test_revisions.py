"""Which release can use which database."""

from pathlib import Path

import pytest
from sqlalchemy import create_engine

from labkit.stack.migrations import revisions
from labkit.stack.migrations.revisions import (
    Phase,
    ReleaseNumber,
    Revision,
    complaint,
    parse_release,
)


def revision(text: str) -> Revision:
    release, _, phase = text.partition("_")
    return Revision(parse_release(release), Phase[phase.upper()])


KNOWN = [revision(text) for text in ("1.1_expand", "1.1_migrate", "1.2_expand", "1.2_contract")]


def problem(release: str, at: str | None) -> str:
    """Why a release cannot use a database that is at a revision, or nothing."""
    number = parse_release(release)
    known = [each for each in KNOWN if each.release <= number]
    return complaint("order", number, known, revision(at) if at else None)


@pytest.mark.parametrize(
    ("release", "at", "words"),
    [
        ("1.0", None, ""),
        ("1.0", "1.1_expand", ""),
        ("1.0", "1.1_migrate", ""),
        ("1.0", "1.2_expand", "too late for 1.0"),
        ("1.0", "1.2_contract", "no way back to 1.0"),
        ("1.1", None, "1.1 needs it expanded (1.1_expand)"),
        ("1.1", "1.1_expand", ""),
        ("1.1", "1.2_expand", ""),
        ("1.1", "1.2_contract", "no way back to 1.1"),
        ("1.2", "1.1_expand", "1.2 needs it expanded (1.2_expand)"),
        ("1.2", "1.2_expand", ""),
        ("1.2", "1.2_contract", ""),
    ],
)
def test_a_release_uses_what_it_knows_and_what_its_neighbour_expanded(
    release: str, at: str | None, words: str
) -> None:
    """It needs all of earlier releases and its own expansion; a later contract locks it out."""
    found = problem(release, at)
    assert words in found
    assert bool(words) == bool(found)


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [("1.0", "1.1", True), ("1.1", "1.0", True), ("1.9", "2.0", True), ("1.0", "1.2", False)],
)
def test_neighbours_run_together(first: str, second: str, together: bool) -> None:
    """Two releases between which no other can be."""
    assert parse_release(first).is_next_to(parse_release(second)) is together


@pytest.mark.parametrize("text", ["", "1", "1.1.1", "v1.1", "one"])
def test_what_is_no_release_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no number of a release"):
        parse_release(text)


def test_revisions_are_found_by_their_files_in_order(tmp_path: Path) -> None:
    """1.10 comes after 1.9, a migration between expansion and contract; other files are none."""
    folder = tmp_path / "stack" / "migrations" / "order"
    folder.mkdir(parents=True)
    wanted = ["r1_9_contract", "r1_10_expand", "r1_10_migrate", "r1_10_contract"]
    for name in (*reversed(wanted), "env", "r1_10_other"):
        (folder / f"{name}.py").touch()
    found = revisions.revisions_of("order", tmp_path)
    assert [f"r{each}".replace(".", "_") for each in found] == wanted


def test_a_database_says_where_it_is() -> None:
    """One that was never migrated is of release 1.0; a name of somebody else's is refused."""
    with create_engine("sqlite://").connect() as connection:
        assert revisions.current(connection) is None
        stamped = Revision(ReleaseNumber(1, 2), Phase.CONTRACT)
        revisions.stamp(connection, stamped)
        assert revisions.current(connection) == stamped
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'ae1027a6acf'")
        with pytest.raises(ValueError, match="no release of the shop"):
            revisions.current(connection)
