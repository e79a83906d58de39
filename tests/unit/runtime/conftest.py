"""Fixtures of the tests of the database runner."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.faults.points import catalogue
from labkit.runtime.db.database import Database
from labkit.runtime.db.job import TransactionDefaults
from labkit.runtime.injection.boundaries import KINDS, Failpoint
from labkit.runtime.injection.failpoints import Failpoints
from labkit.runtime.messaging import outbox
from labkit.shop.wiring import GROUPS
from tests.support.store import Store
from tests.support.transfers import OWN_STEPS, TOLD, OpenDatabase


@pytest.fixture
def open_database(tmp_path: Path) -> Iterator[OpenDatabase]:
    """Opens the runner of a service on the one file of that service, as another process would."""
    opened: list[Database] = []
    stores: dict[str, Store] = {}

    def open_one(service: str) -> tuple[Database, Store]:
        url = f"sqlite:///{tmp_path / service}.sqlite"
        store = stores.get(service) or Store(service, tmp_path, url)
        stores[service] = store
        points = [failpoint for failpoint in catalogue().values() if failpoint.service == service]
        for own in OWN_STEPS:
            points += [Failpoint(service, own.name, boundary) for boundary in KINDS["commit"]]
        context = TransactionDefaults(
            service=service,
            clock=store.clock,
            ids=store.ids,
            settings=store.settings,
            failpoints=Failpoints(tmp_path, f"{service}-1", points),
            write_outbox=outbox.event_writer(GROUPS),
            committed=TOLD.extend,
        )
        opened.append(Database(url, context))
        return opened[-1], store

    TOLD.clear()
    yield open_one
    for database in opened:
        database.close()
    for store in stores.values():
        store.engine.dispose()
