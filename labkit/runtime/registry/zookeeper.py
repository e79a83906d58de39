"""The registry in ZooKeeper.

    /labkit/MARK/instances/SERVICE/N    ephemeral: an instance, as JSON
    /labkit/MARK/workers, …/reserved    the leases of worker numbers (`zookeeper_nodes`)

Instances announce themselves in the home as well, because the supervisor looks there: it forks,
and so it has no connection.
"""

import json
import threading
from dataclasses import asdict
from functools import partial

from kazoo.exceptions import NodeExistsError, NoNodeError

from labkit.home import Home
from labkit.runtime.clock import wall_ms
from labkit.runtime.registry.files import FolderRegistry
from labkit.runtime.registry.ports import Instance
from labkit.runtime.registry.zookeeper_lease import ZooKeeperLease
from labkit.runtime.registry.zookeeper_nodes import LeaseNodes, new_holder
from labkit.runtime.registry.zookeeper_session import ZooKeeperSession

_REST_S = 60.0


class ZooKeeperRegistry(FolderRegistry):
    """The registry of one home, on a ZooKeeper that others may use too.

    Args:
        home: the home; its mark names its tree.
        address: `host:port[,host:port…]`.
    """

    def __init__(self, home: Home, address: str) -> None:
        super().__init__(home.registry)
        self.root = f"/labkit/{home.mark}"
        self._session = ZooKeeperSession(address)
        self._instances: dict[str, list[Instance]] = {}
        self._stale: set[str] = set()
        self._me: Instance | None = None
        self._published: tuple[Instance | None, int | None] = (None, None)
        self._session.add_task(self._publish)
        self._session.add_task(self._refresh)

    def announce(self, instance: Instance) -> None:
        """Announce that this process serves; ZooKeeper gets the node as soon as it answers.

        Raises:
            RuntimeError: another living process has announced the same instance.
        """
        super().announce(instance)
        self._me = instance
        self._session.wake()

    def withdraw(self, service: str, instance: int) -> None:
        """Announce that this process serves no more."""
        super().withdraw(service, instance)
        self._me = None
        self._session.wake()

    def instances(self, service: str, fresh: float = 0) -> list[Instance]:  # noqa: ARG002
        """Return the instances that ZooKeeper named last; it tells of every change by itself."""
        if service not in self._instances:
            self._instances[service] = []
            self._mark_stale(service)
        return self._instances[service]

    def lease_worker(self, reserve_ms: int) -> ZooKeeperLease:
        """Take a worker number; waits as long as ZooKeeper is away.

        Raises:
            RuntimeError: all 1,024 numbers are taken.
        """
        is_decided = threading.Event()
        nodes = LeaseNodes(self._session, self.root, new_holder())
        lease = ZooKeeperLease(self._session, nodes, wall_ms, reserve_ms, is_decided.set)
        is_decided.wait()
        lease.check()
        return lease

    def close(self) -> None:
        """End the session: the instance and the worker number are given back at once."""
        self._session.close()

    def _publish(self) -> float:
        """Keep our instance in the tree, also after a session that ended, or take it out."""
        published = me, _session = self._me, self._session.session_id
        if published != self._published:
            before = self._published[0]
            if me:
                self._put(me)
            elif before:
                self._take_out(before)
            self._published = published
        return _REST_S

    def _put(self, me: Instance) -> None:
        """Create our node; an old one of the same name is of a process that has died."""
        client, path, data = self._session.client, self._path(me), json.dumps(asdict(me)).encode()
        try:
            self._session.call(client.create_async, path, data, ephemeral=True, makepath=True)
        except NodeExistsError:
            transaction = client.transaction()
            transaction.delete(path)
            transaction.create(path, data, ephemeral=True)
            results = self._session.call(transaction.commit_async)
            if any(isinstance(result, Exception) for result in results):
                self._put(me)  # it went meanwhile

    def _take_out(self, before: Instance) -> None:
        try:
            self._session.call(self._session.client.delete_async, self._path(before))
        except NoNodeError:
            return  # it went with its session

    def _mark_stale(self, service: str, _event: object = None) -> None:
        """Invalidate the view of a service: it changed, or the connection was lost."""
        self._stale.add(service)
        self._session.wake()

    def _refresh(self) -> float:
        """Read the services again that have changed."""
        for service in list(self._stale):
            self._stale.discard(service)  # before reading: what changes meanwhile is marked again
            try:
                instances = self._read_instances(service)
            except BaseException:
                self._stale.add(service)
                raise
            # After a long silence every session ends at once, and each instance needs a moment to
            # come back: the instances that were there last are a better guess than none.
            self._instances[service] = instances or self._instances[service]
        return _REST_S

    def _read_instances(self, service: str) -> list[Instance]:
        client, path = self._session.client, f"{self.root}/instances/{service}"
        self._session.call(client.ensure_path_async, path)
        watch = partial(self._mark_stale, service)
        names = self._session.call(client.get_children_async, path, watch=watch)
        instances = [self._instance_at(f"{path}/{name}") for name in sorted(names)]
        return [instance for instance in instances if instance]

    def _instance_at(self, path: str) -> Instance | None:
        try:
            data, _stat = self._session.call(self._session.client.get_async, path)
        except NoNodeError:
            return None
        return Instance(**json.loads(data))

    def _path(self, instance: Instance) -> str:
        return f"{self.root}/instances/{instance.service}/{instance.instance}"
