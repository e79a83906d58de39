"""A lab without a supervisor: its services are started one by one, on one machine or on many.

`init` makes once what all of them need, in the databases, at the broker and in a home. `serve` runs
one instance of a service, which finds everything else through that home, or a copy of it.
"""

import itertools
import json
import os
import socket

from labkit.files import take_lock, try_lock, write_whole
from labkit.home import DATABASES, ENDPOINTS, Home
from labkit.payment_api import keys
from labkit.runtime.clock import LabClock
from labkit.runtime.rpc.address import Address
from labkit.settings import Settings
from labkit.stack.releases import schema
from labkit.stack.setup import brokers, databases, topics, zookeeper
from labkit.stack.setup.seeds import Seeds
from labkit.stack.supervisor import service_process
from labkit.state import LabState, Phase

#: Settings without which services that know nothing of each other cannot meet.
NEEDED = ("mysql", "broker", "zookeeper", "pay_web", "platform")


def init(home: Home, settings: Settings) -> None:
    """Make schemas and users, the first data, keys, topics, and the home in which all is noted.

    What is there stays as it is, so that this can be done again, also while services run.

    Args:
        home: for this lab; services need it, or a copy.
        settings: of the lab; `mysql` is not kept, since it may do more than any service.

    Raises:
        RuntimeError: a setting is missing, a server is away or refuses; one line for people.
    """
    if missing := [f"LABKIT_{name.upper()}" for name in NEEDED if not getattr(settings, name)]:
        raise RuntimeError(f"{', '.join(missing)} must say where the services find what they need")
    home.make()
    lock = take_lock(home.lock_file)
    if lock is None:
        raise RuntimeError(f"a lab is up in {home.folder}, whose services labkit starts by itself")
    try:
        databases.prepare(home, settings.mysql)
        if not home.filled():  # else services may live, and know themselves what they have leased
            zookeeper.prepare(home, settings.zookeeper)
            databases.fill(home, Seeds(), LabClock(home.clock_file).now())
        schema.add_runtime_tables(home)
    except (databases.MySQLUnusable, zookeeper.ZooKeeperUnusable) as error:
        raise RuntimeError(str(error)) from None
    keys.make(home.keys)
    home.keep_settings(settings.model_copy(update={"mysql": ""}))
    _write_state(home, settings)
    topics.make_topics(home)
    os.close(lock)


def serve(home: Home, name: str, instance: int, address: Address) -> None:
    """Run one instance of a service in this process, until it is stopped.

    Args:
        home: as `init` made it, or a copy.
        name: of the service.
        instance: its number among those of its kind; 0: the first that is free in this home.
        address: where it listens, and by which address others reach it.

    Raises:
        ValueError: there is no such service, or no such address.
        RuntimeError: `init` was never run for this home.
        OSError: the address cannot be listened on.
    """
    if name not in service_process.PROCESSES:
        raise ValueError(
            f"{name}: there is no such service; {', '.join(service_process.PROCESSES)} are"
        )
    needed = (home.secret_file, home.settings_file, home.schemas_file, home.state_file)
    if missing := [file.name for file in needed if not file.exists()]:
        raise RuntimeError(f"{home.folder} lacks {', '.join(missing)}: labkit init makes them")
    home.make()  # the folders that a copy lacks
    location, listener = (address.host, address.port), None
    if name in service_process.WEBS:
        listener = socket.create_server(location, backlog=512)
    service_process.serve(home, name, instance or _number(home, name), listener, address)


def _number(home: Home, name: str) -> int:
    """Return the first number that is free; the lock on it goes with this process."""
    return next(
        number
        for number in itertools.count(1)
        if try_lock(home.registry / f"{name}.{number}.taken") is not None
    )


def _write_state(home: Home, settings: Settings) -> None:
    """Write what every service looks up, in the shape in which a supervisor does."""
    generation = home.state().get("generation", 0)
    endpoints = {
        "pay-web": settings.pay_web,
        "platform": settings.platform,
        "broker": settings.broker,
        "registry": settings.zookeeper,
    }
    state: LabState = {
        "stack": "containers",
        "phase": Phase.FOUNDED,
        "supervisor": None,
        "generation": generation,
        "topic_prefix": brokers.prefix_of(home, generation),
        "endpoints": {name: endpoints.get(name) for name in ENDPOINTS},
        "databases": {name: home.database_url(name) for name in DATABASES},
        "services": [],
    }
    write_whole(home.state_file, json.dumps(state, indent=1))
