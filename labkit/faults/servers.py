"""Servers that services stand on: databases, the broker, the registry."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Literal

from labkit.faults import undo_actions
from labkit.faults.databases import Database, databases_of
from labkit.faults.holding import held
from labkit.faults.lab_verbs import ALL, LabVerbs, until
from labkit.faults.undo_notes import undo_action, undo_note
from labkit.faults.verb import Reach, verb
from labkit.home import DATABASES, Home
from labkit.runtime.injection import outages
from labkit.settings import Settings
from labkit.stack.setup import hide
from labkit.stack.supervisor import spawn
from labkit.stack.supervisor.instances import BROKER

if TYPE_CHECKING:  # Docker's client takes long to load
    from labkit.faults.containers import Server

Name = Literal["mysql", "kafka", "zookeeper"]
_KINDS = {"mysql": outages.DATABASE, "kafka": outages.BROKER, "zookeeper": outages.REGISTRY}
_LEAST_PERCENT = 1.0  # Docker gives no less


@undo_action
def serve_again(home: Home, name: str) -> None:
    """Start or wake a server in its container, where it is down or stands still."""
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
    """What can befall a server."""

    @verb
    def database_away(self, service: str = ALL) -> Iterator[Reach]:
        """A service cannot open its database: the file is out of reach, or its account is locked.

        A service that has its SQLite file open is killed, and starts again without. In MySQL the
        connections of the account are killed.

        Args:
            service: whose; `all` of them if not said.
        """
        yield from self._on_databases(service, lambda one: one.away())

    @verb
    def database_locked(self, service: str = ALL) -> Iterator[Reach]:
        """Somebody else holds a service's database: it can read and not write.

        A service waits before it gives up: some 2 s on SQLite, 5 s on MySQL; a shorter block that
        ends before that has reached nobody.

        Args:
            service: whose; `all` of them if not said.
        """
        yield from self._on_databases(service, lambda one: one.locked())

    @verb
    def database_full(self, service: str = ALL) -> Iterator[Reach]:
        """A service's database cannot grow: no room for one more row.

        The kernel lets the service write to no file (Linux alone has that); in MySQL each insert
        is answered with error 1114, that the table is full.

        Args:
            service: whose; `all` of them if not said.
        """
        yield from self._on_databases(service, lambda one: one.full())

    @verb
    def row_held(self, service: str, number: int) -> Iterator[Reach]:
        """Somebody's open transaction holds one row of a service's database.

        Only MySQL locks rows; on SQLite this is refused. Steps that need the row are told after
        some 0.4 s, and at once while it is known to be held.

        Args:
            service: whose.
            number: of the order, the goods, the coupon, the user or the payment.
        """
        if service not in DATABASES:
            raise ValueError(f"{service} has no rows; {', '.join(DATABASES)} have")
        (database,) = databases_of(self._home, service)
        missed = self._misses(outages.ROW, service)
        with database.row_held(number):
            yield Reach(missed, f"no step of {service} needed row {number}")

    @verb
    def broker_away(self) -> Iterator[Reach]:
        """The broker is killed with −9 and stays down; what was in memory alone is lost."""
        yield from self._missed(outages.BROKER, BROKER, self._broker_down())

    @verb
    def broker_paused(self) -> Iterator[Reach]:
        """The broker stands still: connections stay open and nobody answers.

        A client gives up after some 3 s; a shorter block has reached nobody.
        """
        paused = self._pause("kafka") if self._settings.broker else self._broker_stopped()
        yield from self._missed(outages.BROKER, BROKER, paused)

    @verb
    def registry_away(self) -> Iterator[Reach]:
        """The registry is out of reach: the folder of leases, or ZooKeeper, which is killed.

        Calls go to who was there last; ids go on for `LABKIT_WORKER_RESERVE` seconds.
        """
        gone = self._kill("zookeeper") if self._settings.zookeeper else self._registry_aside()
        yield from self._missed(outages.REGISTRY, "registry", gone)

    @verb
    def server_killed(self, name: Name) -> Iterator[Reach]:
        """A server in its container is killed with −9 and stays down.

        Args:
            name: mysql, kafka or zookeeper; every lab that stands on it feels it.
        """
        yield from self._missed(_KINDS[name], name, self._kill(name))

    @verb
    def server_paused(self, name: Name) -> Iterator[Reach]:
        """A server in its container stands still: connections stay open and nobody answers.

        Clients give up after 3 to 5 s; a shorter block has reached nobody.

        Args:
            name: mysql, kafka or zookeeper; every lab that stands on it feels it.
        """
        yield from self._missed(_KINDS[name], name, self._pause(name))

    @verb
    def server_cut(self, name: Name) -> Iterator[Reach]:
        """A server's container is taken off its network, where it has one of its own.

        Args:
            name: mysql, kafka or zookeeper; every lab that stands on it feels it.
        """
        yield from self._missed(_KINDS[name], name, self._cut(name))

    @verb
    def server_slow(self, name: Name, percent: float = 5.0) -> Iterator[Reach]:
        """A server in its container gets a small share of one CPU.

        Args:
            name: mysql, kafka or zookeeper; every lab that stands on it feels it.
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
        self, service: str, befalls: Callable[[Database], AbstractContextManager[None]]
    ) -> Iterator[Reach]:
        found = databases_of(self._home, service)
        of = "*" if service == ALL else service
        away, held = (self._misses(kind, of) for kind in (outages.DATABASE, outages.ROW))
        missed = lambda: away() + held()  # noqa: E731  # MySQL says of a locked table that a row is
        with ExitStack() as all_of_them:
            for one in found:
                all_of_them.enter_context(befalls(one))
            yield Reach(missed, f"no step failed for want of the database of {service}")

    def _missed(
        self, kind: str, name: str, broken: AbstractContextManager[None]
    ) -> Iterator[Reach]:
        missed = self._misses(kind)
        with broken:
            yield Reach(missed, f"no connection of the shop to {name} failed")

    def _misses(self, kind: str, service: str = "*") -> Callable[[], int]:
        """How often the shop has missed a kind of server since now."""
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
            until(lambda: self._serves(BROKER), "the broker did not come back")

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
