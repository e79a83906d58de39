"""The registry that a lab uses: a folder of its home, or ZooKeeper."""

from labkit.home import Home
from labkit.runtime.registry.files import Registry
from labkit.settings import Settings


def open_registry(home: Home, settings: Settings) -> Registry:
    """The registry that a lab uses: ZooKeeper where its settings name one, else its folder.

    Args:
        home: where the lab lives.
        settings: of the lab.

    Returns:
        The registry. It may have threads and a connection: never fork after this, and close it.
    """
    if not settings.zookeeper:
        return Registry(home.registry)
    from labkit.runtime.registry.zookeeper import (
        ZooKeeperRegistry,  # its client takes long to import
    )

    return ZooKeeperRegistry(home, settings.zookeeper)
