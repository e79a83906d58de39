"""Migrations of MySQL schemas, where each statement is committed by itself, killed at any."""

import json
from pathlib import Path

import pytest

from labkit.home import Home
from labkit.runtime.clock import as_time, wall_ms
from labkit.stack.setup import databases
from labkit.stack.setup.seeds import Seeds
from tests.support.mysqld import Server
from tests.support.releases import in_release, unpacked


@pytest.mark.timeout(600)
def test_a_migration_that_is_killed_anywhere_is_run_again(tmp_path: Path, mysql: Server) -> None:
    """Each phase comes to the same end, though the half of it is there already."""
    home = Home(tmp_path / "home").make()
    databases.prepare(home, mysql.url)
    databases.fill(home, Seeds(), as_time(wall_ms()))
    release = unpacked(tmp_path, "1.2")
    met = json.loads(in_release(release, "-m", "tests.support.migrating", str(home.folder)))
    assert list(met) == ["1.1_expand", "1.1_migrate", "1.2_expand", "1.2_close", "1.2_contract"]
    assert all(number > 3 for number in met.values()), met
