"""A schema and a user for each service, who can reach nothing else."""

from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect
from sqlalchemy.exc import OperationalError

from labkit.home import DATABASES, Home
from labkit.runtime.clock import LabClock
from labkit.shop.tables import request
from labkit.stack.setup import databases
from labkit.stack.setup.seeds import Seeds
from tests.support.db import labkit
from tests.support.mysqld import Server
from tests.support.store import NOON


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
            foreign = create_engine(engine.url.set(database=f"labkit_{home.mark}_{other}"))
            with pytest.raises(OperationalError, match="denied"), foreign.connect():
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


def test_half_filled_schemas_never_count_as_filled(home: Home, mysql: Server) -> None:
    """Not even after the home was used with files meanwhile; and those on the server stay known."""
    now = LabClock(home.clock_file).now()
    before = home.schemas()
    databases.put_aside(home)
    assert home.schemas() == {}
    databases.fill(home, Seeds(), now)
    assert home.filled()
    assert home.database_url("goods").startswith("sqlite")
    databases.prepare(home, mysql.url)
    assert home.schemas() == before
    assert not home.filled()


def test_keys_that_differ_in_a_capital_are_two(home: Home) -> None:
    """As on SQLite: an order under `Ab1` is not the order under `aB1`."""
    databases.fill(home, Seeds(), LabClock(home.clock_file).now())
    engine = create_engine(home.database_url("order"))
    row = {"user_id": 1, "request_hash": "", "answer": None, "add_time": NOON}
    with engine.begin() as connection:
        for number, key in enumerate(("Ab1", "aB1")):
            connection.execute(
                request.insert(), {**row, "order_id": number, "idempotency_key": key}
            )
        rows = connection.execute(request.select().where(request.c.idempotency_key == "AB1")).all()
    assert rows == []
    engine.dispose()


def test_passwords_are_for_the_owner_alone(home: Home) -> None:
    """The file with the services' URLs can be read by nobody else."""
    assert home.schemas_file.stat().st_mode & 0o077 == 0


def test_a_server_that_may_lose_a_commit_is_refused(tmp_path: Path, mysql: Server) -> None:
    """It says which setting to change."""
    admin = create_engine(mysql.url)
    with admin.begin() as connection:
        connection.exec_driver_sql("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
    try:
        with pytest.raises(databases.MySQLUnusable, match="innodb_flush_log_at_trx_commit = 1"):
            databases.prepare(Home(tmp_path / "home").make(), mysql.url)
    finally:
        with admin.begin() as connection:
            connection.exec_driver_sql("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
        admin.dispose()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nonsense", "must look like"),
        ("mysql://root:s3cret@127.0.0.1/", "must look like"),
        ("mysql+pymysql://root:s3cret@127.0.0.1:1/", "127.0.0.1:1, which LABKIT_MYSQL names, says"),
    ],
)
def test_a_server_that_cannot_be_used_is_named(tmp_path: Path, given: str, message: str) -> None:
    """One line says what is wrong, and it holds no password."""
    done = labkit("up", home=tmp_path / "home", LABKIT_MYSQL=given)
    (line,) = done.stderr.strip().splitlines()
    assert done.returncode == 1
    assert message in line
    assert "s3cret" not in line


def test_a_user_who_may_not_make_schemas_is_told(tmp_path: Path, home: Home) -> None:
    """The user of a service is no administrator: the server's own words are passed on."""
    own = home.database_url("goods")
    with pytest.raises(databases.MySQLUnusable, match="denied"):
        databases.prepare(Home(tmp_path / "another").make(), own)
