"""The registry that a lab uses: a folder of its home, or ZooKeeper."""

from labkit.home import Home
from labkit.runtime.registry.files import FolderRegistry
from labkit.runtime.registry.ports import Registry
from labkit.settings import Settings


def open_registry(home: Home, settings: Settings) -> Registry:
    """Open the registry of a lab: ZooKeeper if its settings name one, else its folder.

    Args:
        home: the home of the lab.
        settings: the lab's settings.

    Returns:
        The registry. It may have threads and a connection: never fork after this, and close it.
    """
    if not settings.zookeeper:
        return FolderRegistry(home.registry)
    # Here, because the client of ZooKeeper takes long to import.
    from labkit.runtime.registry.zookeeper import ZooKeeperRegistry

    return ZooKeeperRegistry(home, settings.zookeeper)
