"""Servers that services stand on: databases, the broker, the registry."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Literal

from labkit.faults import undo_actions
from labkit.faults.databases import Database, databases_of
from labkit.faults.holding import held
from labkit.faults.lab_verbs import ALL, LabVerbs
from labkit.faults.undo_notes import undo_action, undo_note
from labkit.faults.verb import Reach, verb
from labkit.home import DATABASES, Home
from labkit.runtime.injection import outages
from labkit.settings import Settings
from labkit.stack.setup import hide
from labkit.stack.supervisor import spawn
from labkit.stack.supervisor.instances import BROKER
from labkit.waiting import wait_until

if TYPE_CHECKING:  # Docker's client takes long to load
    from labkit.faults.containers import Server

Name = Literal["mysql", "kafka", "zookeeper"]
_KINDS = {"mysql": outages.DATABASE, "kafka": outages.BROKER, "zookeeper": outages.REGISTRY}
_LEAST_PERCENT = 1.0  # Docker gives no less


@undo_action
def serve_again(home: Home, name: str) -> None:
    """Start or wake a server in its container, where it is down or paused."""
    from labkit.faults.containers import server_of  # here: Docker's client takes long to load

    with suppress(ValueError), server_of(home, name) as server:  # there is no such container
        if server.container.status == "paused":
            server.unpause()
        elif server.container.status != "running":
            server.start()


@undo_action
def rejoin(home: Home, name: str, networks: dict[str, list[str] | None]) -> None:
    """Put a server's container on its networks again, where it is not."""
    from labkit.faults.containers import server_of  # here: Docker's client takes long to load

    with suppress(ValueError), server_of(home, name) as server:  # there is no such container
        server.join(networks)


@undo_action
def give_cpu(home: Home, name: str, quota: int) -> None:
    """Give a server's container as much CPU as it had."""
    from labkit.faults.containers import server_of  # here: Docker's client takes long to load

    with suppress(ValueError), server_of(home, name) as server:  # there is no such container
        server.limit_cpu(quota)


class ServerVerbs(LabVerbs):
    """The faults of servers."""

    @verb
    def database_away(self, service: str = ALL) -> Iterator[Reach]:
        """Take a service's database away: hide its file, or lock its account.

        A service that has its SQLite file open is killed, and starts again without it. In MySQL the
        connections of the account are killed.

        Args:
            service: the owner; `all` by default.
        """
        yield from self._on_databases(service, lambda database: database.away())

    @verb
    def database_locked(self, service: str = ALL) -> Iterator[Reach]:
        """Lock a service's database: the service can read and not write.

        A service waits before it gives up: some 2 s on SQLite, 5 s on MySQL; a block that ends
        before that has hit nothing.

        Args:
            service: the owner; `all` by default.
        """
        yield from self._on_databases(service, lambda database: database.locked())

    @verb
    def database_full(self, service: str = ALL) -> Iterator[Reach]:
        """Fill a service's database: there is no room for one more row.

        The kernel lets the service write to no file (only Linux can do that); MySQL answers each
        insert with error 1114, that the table is full.

        Args:
            service: the owner; `all` by default.
        """
        yield from self._on_databases(service, lambda database: database.full())

    @verb
    def row_held(self, service: str, number: int) -> Iterator[Reach]:
        """Hold one row of a service's database in an open transaction.

        Only MySQL locks rows; on SQLite this is refused. Steps that need the row fail after some
        0.4 s, and at once while the service knows that it is held.

        Args:
            service: the owner.
            number: of the order, the goods, the coupon, the user or the payment.
        """
        if service not in DATABASES:
            raise ValueError(f"{service} has no rows; {', '.join(DATABASES)} have")
        (database,) = databases_of(self._home, service)
        missed = self._outages(outages.ROW, service)
        with database.row_held(number):
            yield Reach(missed, f"no step of {service} needed row {number}")

    @verb
    def broker_away(self) -> Iterator[Reach]:
        """Kill the broker with −9, and keep it down; what was in memory alone is lost."""
        yield from self._count_outages(outages.BROKER, BROKER, self._broker_down())

    @verb
    def broker_paused(self) -> Iterator[Reach]:
        """Stop the broker: connections stay open and nobody answers.

        A client gives up after some 3 s; a shorter block has hit nothing.
        """
        paused = self._pause("kafka") if self._settings.broker else self._broker_stopped()
        yield from self._count_outages(outages.BROKER, BROKER, paused)

    @verb
    def registry_away(self) -> Iterator[Reach]:
        """Take the registry away: hide the folder of leases, or kill ZooKeeper.

        Calls go to the instances that were there last; ids go on for `LABKIT_WORKER_RESERVE`
        seconds.
        """
        gone = self._kill("zookeeper") if self._settings.zookeeper else self._registry_aside()
        yield from self._count_outages(outages.REGISTRY, "registry", gone)

    @verb
    def server_killed(self, name: Name) -> Iterator[Reach]:
        """Kill a server in its container with −9, and keep it down.

        Args:
            name: mysql, kafka or zookeeper; every lab that uses it is hit.
        """
        yield from self._count_outages(_KINDS[name], name, self._kill(name))

    @verb
    def server_paused(self, name: Name) -> Iterator[Reach]:
        """Pause a server in its container: connections stay open and nobody answers.

        Clients give up after 3 to 5 s; a shorter block has hit nothing.

        Args:
            name: mysql, kafka or zookeeper; every lab that uses it is hit.
        """
        yield from self._count_outages(_KINDS[name], name, self._pause(name))

    @verb
    def server_cut(self, name: Name) -> Iterator[Reach]:
        """Take a server's container off its network, where it has one of its own.

        Args:
            name: mysql, kafka or zookeeper; every lab that uses it is hit.
        """
        yield from self._count_outages(_KINDS[name], name, self._cut(name))

    @verb
    def server_slow(self, name: Name, percent: float = 5.0) -> Iterator[Reach]:
        """Give a server in its container a small share of one CPU.

        Args:
            name: mysql, kafka or zookeeper; every lab that uses it is hit.
            percent: of one CPU.
        """
        from labkit.faults.containers import quota_of  # here: Docker's client takes long to load

        if not _LEAST_PERCENT <= percent <= 100:
            raise ValueError(f"percent is {_LEAST_PERCENT:g} to 100, not {percent:g}")
        with (
            self._server(name) as server,
            undo_note(self._home, give_cpu, name=name, quota=server.cpu_quota),
        ):
            server.limit_cpu(quota_of(percent))
            before = server.throttlings
            throttled = lambda: server.throttlings - before  # noqa: E731  # needs this server
            yield Reach(throttled, f"{name} had nothing to do for which {percent} % is too little")

    def _on_databases(
        self, service: str, fault: Callable[[Database], AbstractContextManager[None]]
    ) -> Iterator[Reach]:
        databases = databases_of(self._home, service)
        owner = "*" if service == ALL else service
        away, held = (self._outages(kind, owner) for kind in (outages.DATABASE, outages.ROW))
        missed = lambda: away() + held()  # noqa: E731  # MySQL says of a locked table that a row is
        with ExitStack() as all_of_them:
            for database in databases:
                all_of_them.enter_context(fault(database))
            yield Reach(missed, f"no step failed for want of the database of {service}")

    def _count_outages(
        self, kind: str, name: str, broken: AbstractContextManager[None]
    ) -> Iterator[Reach]:
        missed = self._outages(kind)
        with broken:
            yield Reach(missed, f"no connection of the shop to {name} failed")

    def _outages(self, kind: str, service: str = "*") -> Callable[[], int]:
        """Return a counter of the outages of a kind of server that the shop meets from now on."""
        before = outages.total(self._home.faults, kind, service)
        return lambda: outages.total(self._home.faults, kind, service) - before

    # the lab's own

    @contextmanager
    def _broker_down(self) -> Iterator[None]:
        if self._settings.broker:
            with self._kill("kafka"):
                yield
            return
        try:
            with held(self._home, BROKER):
                yield
        finally:
            wait_until(lambda: self._serves(BROKER), "the broker is back")

    @contextmanager
    def _broker_stopped(self) -> Iterator[None]:
        pid = self._pid(BROKER)
        with undo_note(self._home, undo_actions.resume, processes=[(pid, spawn.birth(pid))]):
            os.kill(pid, signal.SIGSTOP)
            yield

    @contextmanager
    def _registry_aside(self) -> Iterator[None]:
        with undo_note(self._home, undo_actions.bring_back, path=str(self._home.registry)):
            hide.put_away(self._home.registry)
            yield

    # containers

    @contextmanager
    def _kill(self, name: str) -> Iterator[None]:
        with undo_note(self._home, serve_again, name=name), self._server(name) as server:
            server.kill()
            try:
                yield
            finally:
                server.start()

    @contextmanager
    def _pause(self, name: str) -> Iterator[None]:
        with undo_note(self._home, serve_again, name=name), self._server(name) as server:
            server.pause()
            try:
                yield
            finally:
                server.unpause()

    @contextmanager
    def _cut(self, name: str) -> Iterator[None]:
        with self._server(name) as server:
            networks = server.networks
            with undo_note(self._home, rejoin, name=name, networks=networks):
                server.leave(networks)
                yield

    def _server(self, name: str) -> "AbstractContextManager[Server]":
        from labkit.faults.containers import server_of  # here: Docker's client takes long to load

        return server_of(self._home, name)

    @property
    def _settings(self) -> Settings:
        return self._home.settings()
