"""The example releases fit this tree, and each runs beside its neighbour."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from labkit.shop.wiring import NAMES, SERVICES
from labkit.stack.releases.order import deploy_order
from labkit.stack.releases.release import number_in
from tests.support.compatibility import broken
from tests.support.releases import RELEASES, ROOT, in_release

#: What a release takes from the one before it, and why that one is none the worse for it.
KNOWN = {
    # it may be empty, and nobody leaves it so before 1.2, whose neighbour reads the recipient
    "1.1": ["order.trade_order.consignee is another column: the old release does not know it so"],
    # only the contract drops it, when no process of 1.1 is left
    "1.2": ["order.trade_order.consignee is gone: the old release writes it"],
}
#: Makes the tables of the order service as a release has them, in a file.
MAKE = """
import sys
from sqlalchemy import create_engine
from labkit.shop.tables import TABLES
tables = TABLES["order"]
engine = create_engine("sqlite:///" + sys.argv[1])
with engine.begin() as connection:
    tables[0].metadata.create_all(connection, tables)
"""
#: Runs revisions of a release on a file.
MIGRATE = """
import sys
from labkit.runtime.db.engines import open_engine
from labkit.stack.migrations import running
with open_engine("sqlite:///" + sys.argv[1]).connect() as connection:
    for to in sys.argv[2:]:
        running.upgrade(connection, "order", to)
"""


def test_each_calls_itself_by_its_number(releases: dict[str, Path]) -> None:
    """The differences of a release number it."""
    assert {number: str(number_in(folder)) for number, folder in releases.items()} == {
        number: number for number in RELEASES
    }


@pytest.mark.parametrize(("old", "new"), list(pairwise(RELEASES)))
def test_neighbours_keep_their_promises(releases: dict[str, Path], old: str, new: str) -> None:
    """What one writes the other can read, but for what the migrations see to."""
    said = {
        number: json.loads(in_release(releases[number], "-m", "tests.support.released"))
        for number in (old, new)
    }
    assert broken(said[old], said[new]) == KNOWN[new]


@pytest.mark.parametrize("number", RELEASES[1:])
def test_each_is_written_as_this_tree(releases: dict[str, Path], number: str) -> None:
    """The linter finds nothing, and nothing would be formatted otherwise."""
    folder, config = releases[number], f"--config={ROOT / 'pyproject.toml'}"
    ruff = [sys.executable, "-m", "ruff"]
    changed = [folder / "labkit" / name for name in ("shop", "web", "stack", "ops")]
    for command in (["check", "--ignore=I001"], ["format", "--check"]):
        subprocess.run([*ruff, *command, "--no-cache", config, *changed], check=True)


def columns(file: Path) -> dict[str, dict[str, object]]:
    """Table → column → its type, and whether it may be empty; index → its columns."""
    schema = inspect(create_engine(f"sqlite:///{file}"))
    return {
        table: {
            **{
                each["name"]: (str(each["type"]), each["nullable"])
                for each in schema.get_columns(table)
            },
            **{str(each["name"]): each["column_names"] for each in schema.get_indexes(table)},
        }
        for table in schema.get_table_names()
        if table != "alembic_version"
    }


@pytest.mark.parametrize(
    ("number", "revisions"),
    [
        ("1.1", ["1.1_expand", "1.1_migrate"]),
        ("1.2", ["1.1_expand", "1.1_migrate", "1.2_expand", "1.2_close", "1.2_contract"]),
        ("1.2", ["1.2_contract"]),
    ],
)
def test_revisions_end_where_the_tables_are(
    releases: dict[str, Path], tmp_path: Path, number: str, revisions: list[str]
) -> None:
    """A database of 1.0 that was migrated has the tables and columns of one made anew."""
    migrated, new = tmp_path / "migrated.sqlite", tmp_path / "new.sqlite"
    in_release(releases["1.0"], "-c", MAKE, str(migrated))
    in_release(releases[number], "-c", MIGRATE, str(migrated), *revisions)
    in_release(releases[number], "-c", MAKE, str(new))

    assert columns(migrated) == columns(new)
    assert {"gift_note", "order_by_state"} <= columns(new)["trade_order"].keys()


@pytest.mark.parametrize("number", RELEASES[1:])
def test_revisions_are_named_after_their_files(releases: dict[str, Path], number: str) -> None:
    """Each says the name that its file has, and which one comes before it."""
    folder = releases[number] / "labkit" / "stack" / "migrations" / "order"
    names = ["1.1_expand", "1.1_migrate", "1.2_expand", "1.2_close", "1.2_contract"]
    names = [each for each in names if each <= f"{number}_z"]
    before = [None, *names]
    for name, earlier in zip(names, before, strict=False):
        text = (folder / f"r{name.replace('.', '_')}.py").read_text()
        down = "None" if earlier is None else f'"{earlier}"'
        assert f'revision, down_revision = "{name}", {down}\n' in text
    assert len(list(folder.glob("r*.py"))) == len(names)


def test_whoever_is_called_is_deployed_before_its_callers() -> None:
    """So a new caller never meets an old callee."""
    order = deploy_order()
    assert set(order) == set(SERVICES)
    for name, service in SERVICES.items():
        for contract in service.calls.values():
            if contract in NAMES:
                assert order.index(NAMES[contract]) < order.index(name)
