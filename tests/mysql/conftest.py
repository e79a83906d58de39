"""One MySQL server for each worker of the tests, and runners on schemas of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, make_url

from labkit.faults.points import catalogue
from labkit.runtime.db.database import Database
from labkit.runtime.db.job import TransactionDefaults
from labkit.runtime.injection.boundaries import KINDS, Failpoint
from labkit.runtime.injection.failpoints import Failpoints
from labkit.runtime.messaging import outbox
from labkit.shop.wiring import GROUPS
from labkit.stack.setup.databases import COLLATION
from tests.support import mysql_steps
from tests.support.mysqld import Server, server
from tests.support.store import Store

OpenRunner = Callable[[str], tuple[Database, Store]]


@pytest.fixture(scope="session")
def mysql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("mysqld")) as running:
        yield running


@pytest.fixture
def schema(mysql: Server) -> Iterator[str]:
    """URL of an empty schema."""
    engine = create_engine(mysql.url, poolclass=NullPool)  # a test may kill the server
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE one_test {COLLATION}")
    yield make_url(mysql.url).set(database="one_test").render_as_string(hide_password=False)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP DATABASE one_test")


@pytest.fixture
def open_runner(schema: str, tmp_path: Path) -> Iterator[OpenRunner]:
    """Opens the runner of one service on the test's schema; again, as another process would."""
    opened: list[Database] = []
    stores: list[Store] = []

    def open_one(service: str) -> tuple[Database, Store]:
        if not stores:
            stores.append(Store(service, tmp_path, schema))
        points = [failpoint for failpoint in catalogue().values() if failpoint.service == service]
        for own in mysql_steps.ALL:
            points += [Failpoint(service, own.name, boundary) for boundary in KINDS["commit"]]
        context = TransactionDefaults(
            service=service,
            clock=stores[0].clock,
            ids=stores[0].ids,
            settings=stores[0].settings,
            failpoints=Failpoints(tmp_path, f"{service}-1", points),
            write_outbox=outbox.event_writer(GROUPS),
            committed=lambda _: None,
        )
        opened.append(Database(schema, context))
        return opened[-1], stores[0]

    yield open_one
    for database in opened:
        database.close()
    for store in stores:
        store.engine.dispose()
