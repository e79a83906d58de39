"""The registry in ZooKeeper: who serves what, and who may make ids under which number.

    /labkit/MARK/instances/SERVICE/N    ephemeral: an instance, as JSON
    /labkit/MARK/workers, …/reserved    the leases of worker numbers (worker_nodes.py)

Instances announce themselves in the home as well, because the supervisor looks there: it forks,
and so it has no connection.
"""

import json
from dataclasses import asdict
from functools import partial
from typing import Any

from kazoo.exceptions import NodeExistsError, NoNodeError

from labkit.home import Home
from labkit.runtime.registry.files import Instance, Registry
from labkit.runtime.registry.zookeeper_lease import ZooKeeperLease
from labkit.runtime.registry.zookeeper_session import ZooKeeperSession

_REST_SECONDS = 60.0


class ZooKeeperRegistry(Registry):
    """The registry of one home, on an ensemble that others may use too.

    Args:
        home: whose mark its tree bears.
        address: `host:port[,host:port…]`.
    """

    def __init__(self, home: Home, address: str) -> None:
        super().__init__(home.registry)
        self.root = f"/labkit/{home.mark}"
        self._ensemble = ZooKeeperSession(address)
        self._found: dict[str, list[Instance]] = {}
        self._stale: set[str] = set()
        self._me: Instance | None = None
        self._shown: tuple[Instance | None, int | None] = (None, None)
        self._ensemble.see_to(self._show)
        self._ensemble.see_to(self._look)

    def announce(self, instance: Instance) -> None:
        """Say that this process serves; the tree hears of it as soon as the ensemble does.

        Raises:
            RuntimeError: another living process has announced the same instance.
        """
        super().announce(instance)
        self._me = instance
        self._ensemble.wake()

    def withdraw(self, service: str, instance: int) -> None:
        """Say that this process serves no more."""
        super().withdraw(service, instance)
        self._me = None
        self._ensemble.wake()

    def instances(self, service: str, fresh: float = 0) -> list[Instance]:  # noqa: ARG002  # told
        """The instances that the ensemble last told us of; it tells of every change by itself."""
        if service not in self._found:
            self._found[service] = []
            self._mark(service)
        return self._found[service]

    def lease_worker(self, reserve_ms: int) -> ZooKeeperLease:
        """Take a worker number; waits for as long as the ensemble is away.

        Raises:
            RuntimeError: all 1,024 numbers are taken.
        """
        lease = ZooKeeperLease(self._ensemble, self.root, reserve_ms)
        lease.wait()
        return lease

    def close(self) -> None:
        """End the session: the instance and the number are given back at once."""
        self._ensemble.close()

    def _show(self) -> float:
        """Have our instance in the tree, also after a session that ended, or take it out."""
        shown = me, _session = self._me, self._ensemble.session
        if shown != self._shown:
            before = self._shown[0]
            if me:
                self._put(me)
            elif before:
                self._take_out(before)
            self._shown = shown
        return _REST_SECONDS

    def _put(self, me: Instance) -> None:
        """Put our node there; one of the same name is of a process that has died."""
        client, path, data = self._ensemble.client, self._path(me), json.dumps(asdict(me)).encode()
        try:
            self._ensemble.ask(client.create_async, path, data, ephemeral=True, makepath=True)
        except NodeExistsError:
            transaction = client.transaction()
            transaction.delete(path)
            transaction.create(path, data, ephemeral=True)
            if any(
                isinstance(one, Exception) for one in self._ensemble.ask(transaction.commit_async)
            ):
                self._put(me)  # it went meanwhile

    def _take_out(self, before: Instance) -> None:
        try:
            self._ensemble.ask(self._ensemble.client.delete_async, self._path(before))
        except NoNodeError:
            return  # it went with its session

    def _mark(self, service: str, _event: object = None) -> None:
        """What is known of a service is old: it changed, or the connection was lost."""
        self._stale.add(service)
        self._ensemble.wake()

    def _look(self) -> float:
        """Read anew what has changed."""
        for service in list(self._stale):
            self._stale.discard(service)  # before reading: what changes meanwhile is marked again
            try:
                found = self._instances_of(service)
            except BaseException:
                self._stale.add(service)
                raise
            # After a long silence every session ends at once, and each instance needs a moment to
            # come back: who was there last is a better guess than nobody.
            self._found[service] = found or self._found[service]
        return _REST_SECONDS

    def _instances_of(self, service: str) -> list[Instance]:
        client, path = self._ensemble.client, f"{self.root}/instances/{service}"
        self._ensemble.ask(client.ensure_path_async, path)
        watch = partial(self._mark, service)
        names = self._ensemble.ask(client.get_children_async, path, watch=watch)
        found = [self._instance_at(f"{path}/{name}") for name in sorted(names)]
        return [one for one in found if one]

    def _instance_at(self, path: str) -> Instance | None:
        try:
            data, _stat = self._ensemble.ask(self._ensemble.client.get_async, path)
        except NoNodeError:
            return None
        known: dict[str, Any] = json.loads(data)
        return Instance(**known)

    def _path(self, one: Instance) -> str:
        return f"{self.root}/instances/{one.service}/{one.instance}"
