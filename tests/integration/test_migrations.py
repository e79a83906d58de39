"""Migrations of SQLite files, killed at any statement and run again."""

import json
from pathlib import Path

import pytest

from labkit.home import Home
from labkit.runtime.clock import as_time, wall_ms
from labkit.stack.setup.seeds import Seeds, files, seed
from tests.support.releases import in_release, unpacked

pytestmark = pytest.mark.slow


def test_a_migration_that_is_killed_anywhere_is_run_again(tmp_path: Path) -> None:
    """Each phase comes to the same end, whichever statement it was killed before."""
    home = Home(tmp_path / "home").make()
    seed(files(home.databases), Seeds(), as_time(wall_ms()))
    release = unpacked(tmp_path, "1.2")
    met = json.loads(in_release(release, "-m", "tests.support.migrating", str(home.folder)))
    assert list(met) == ["1.1_expand", "1.1_migrate", "1.2_expand", "1.2_close", "1.2_contract"]
    assert all(number > 3 for number in met.values()), met
