"""A schema and a user for each service, who can reach nothing else."""

from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect
from sqlalchemy.exc import OperationalError

from labkit.home import DATABASES, Home
from labkit.runtime.clock import LabClock
from labkit.stack import databases
from labkit.stack.seeds import Seeds
from tests.mysqld import Server


@pytest.fixture
def home(tmp_path: Path, mysql: Server) -> Home:
    made = Home(tmp_path / "home").make()
    databases.prepare(made, mysql.url)
    return made


def test_a_service_reaches_its_own_schema_alone(home: Home) -> None:
    """With its own user it sees one schema, and is refused in each of the others."""
    for mine in DATABASES:
        engine = create_engine(home.database_url(mine))
        own = engine.url.database
        assert set(inspect(engine).get_schema_names()) == {own, "information_schema"}
        for other in set(DATABASES) - {mine}:
            theirs = create_engine(engine.url.set(database=f"labkit_{home.mark}_{other}"))
            with pytest.raises(OperationalError, match="denied"), theirs.connect():
                pass
        engine.dispose()


def test_they_are_filled_whole_or_not_at_all(home: Home, mysql: Server) -> None:
    """Filled, they stay so at the next start; with a schema gone they do not count as filled."""
    now = LabClock(home.clock_file).now()
    assert not home.filled()
    databases.fill(home, Seeds(), now)
    assert home.filled()
    before = home.schemas()
    databases.prepare(home, mysql.url)
    assert home.filled()
    assert home.schemas() == before
    admin = create_engine(mysql.url)
    with admin.begin() as connection:
        connection.exec_driver_sql(f"DROP DATABASE labkit_{home.mark}_pay")
    admin.dispose()
    databases.prepare(home, mysql.url)
    assert not home.filled()


def test_passwords_are_for_the_owner_alone(home: Home) -> None:
    """The file with the services' URLs can be read by nobody else."""
    assert home.schemas_file.stat().st_mode & 0o077 == 0


def test_a_server_that_may_lose_a_commit_is_refused(tmp_path: Path, mysql: Server) -> None:
    """It says which setting to change."""
    admin = create_engine(mysql.url)
    with admin.begin() as connection:
        connection.exec_driver_sql("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
    try:
        with pytest.raises(databases.NotDurable, match="innodb_flush_log_at_trx_commit = 1"):
            databases.prepare(Home(tmp_path / "home").make(), mysql.url)
    finally:
        with admin.begin() as connection:
            connection.exec_driver_sql("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
        admin.dispose()
