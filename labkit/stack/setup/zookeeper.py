"""A ZooKeeper that a lab uses as registry: a check that it serves, and the lab's tree there."""

import re

from labkit.home import Home
from labkit.runtime.clock import wall_ms
from labkit.runtime.registry.zookeeper_nodes import LeaseNodes
from labkit.runtime.registry.zookeeper_session import ZooKeeperSession
from labkit.waiting import poll_until

_HOSTS = re.compile(r"[^\s:,/]+:\d+(,[^\s:,/]+:\d+)*")
_REACH_S = 10  # it may have been started together with the lab


class ZooKeeperUnusable(Exception):
    """The ensemble cannot be used; the message says why."""


def prepare(home: Home, address: str) -> None:
    """Make the tree under which worker numbers are leased, where it is not there.

    No process of the lab may run: any lease that is not in the tree is then one of the past.

    Args:
        home: the home of the lab; its mark tells its tree from those of other labs.
        address: `host:port[,host:port…]`.

    Raises:
        ZooKeeperUnusable: it is no such address, or no server of it is ready in time.
    """
    if not _HOSTS.fullmatch(address):
        raise ZooKeeperUnusable(
            f"LABKIT_ZOOKEEPER must look like host:2181 or a:2181,b:2181: {address!r}"
        )
    ensemble = ZooKeeperSession(address)
    try:
        _wait_for(ensemble)
        LeaseNodes(ensemble, f"/labkit/{home.mark}", "labkit up").make(wall_ms())
    finally:
        ensemble.close()


def _wait_for(ensemble: ZooKeeperSession) -> None:
    if not poll_until(lambda: ensemble.session_id is not None, _REACH_S):
        raise ZooKeeperUnusable(
            f"no ZooKeeper is ready at {ensemble.address}, which LABKIT_ZOOKEEPER names"
        )
