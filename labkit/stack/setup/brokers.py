"""The broker of a lab: which one it is, and as an instance of a service sees it."""

from contextlib import suppress

from labkit.home import Home
from labkit.runtime.messaging.kafka import BrokerConfig, KafkaBroker
from labkit.runtime.messaging.ports import Broker
from labkit.runtime.messaging.sharing import Share
from labkit.runtime.messaging.wakeups import WakingBroker
from labkit.runtime.registry.files import FolderRegistry
from labkit.stack.supervisor.instances import BROKER


def broker_config_of(home: Home) -> BrokerConfig:
    """Return the broker of a lab, as its state file names it."""
    state = home.state()
    settings = home.settings()
    return BrokerConfig(
        address=state["endpoints"]["broker"],
        prefix=state["topic_prefix"],
        durable=bool(settings.broker),
        partitions=settings.partitions,
        session=settings.group_session,
    )


def prefix_of(home: Home, generation: int) -> str:
    """Return the prefix of a lab's topics.

    Labs may share a broker that is not theirs, and a reset must not see what was there before.
    """
    return f"labkit-{home.mark}-{generation}-"


def broker_of(home: Home, service: str, instance: int) -> Broker:
    """Return the broker as one instance of a service sees it."""
    config = broker_config_of(home)
    if config.durable:
        return KafkaBroker(config, service)
    consumers, beats = FolderRegistry(home.consumers), home.consumers / f"{service}.beats"
    share = Share(service, instance, consumers, beats, config.session)
    broker = KafkaBroker(config, service, share, _BrokerLife(home))
    return WakingBroker(broker, service, instance, consumers)


class _BrokerLife:
    """The process of the lab's own broker, as the state file names it."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._written = 0
        self._pids: list[int | None] = []

    def __call__(self) -> object:
        """Return the process; the last one that is known, where the file cannot be read."""
        with suppress(OSError, ValueError):
            written = self._home.state_file.stat().st_mtime_ns
            if written != self._written:
                services = self._home.state()["services"]
                self._pids = [each["pid"] for each in services if each["name"] == BROKER]
                self._written = written
        return tuple(self._pids)
