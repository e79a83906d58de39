"""A server in its container, which a fault reaches through the Docker engine."""

import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from docker import DockerClient
from docker.models.containers import Container
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from labkit.home import Home
from labkit.runtime.registry import zookeeper_session
from labkit.stack.containers import compose_file, engine
from labkit.stack.containers.compose_file import ADDRESS
from labkit.stack.containers.create import find
from labkit.stack.supervisor import ports
from labkit.waiting import wait_until

_DEAD_S, _SERVES_S = 15.0, 60.0
_PERIOD = 100_000  # microseconds, over which the kernel shares CPU out
_NO_LIMIT = -1


class Server:
    """One server of a stack.

    Args:
        docker: the engine.
        project: the name of its project.
        name: mysql, kafka or zookeeper.

    Raises:
        ValueError: it is in no container there.
    """

    def __init__(self, docker: DockerClient, project: str, name: str) -> None:
        self._docker = docker
        self._project = project
        self.name = name
        self._find()

    @property
    def container(self) -> Container:
        """Return the container as it is now."""
        return self._find()

    @property
    def address(self) -> str:
        """Return the `host:port` at which it serves its clients."""
        return self.container.labels[ADDRESS]

    def kill(self) -> None:
        """Kill it with −9, and wait until it is dead: nothing more is flushed."""
        self.container.kill()
        wait_until(lambda: self.container.status == "exited", f"{self.name} is dead", _DEAD_S)
        code = self.container.attrs["State"]["ExitCode"]
        if code != 128 + signal.SIGKILL:
            raise RuntimeError(f"{self.name} ended by itself, with code {code}, before the kill")

    def start(self) -> None:
        """Start it, and wait until it serves its clients."""
        self.container.start()
        wait_until(self._serves, f"{self.name} serves", _SERVES_S)

    def pause(self) -> None:
        """Freeze it; connections stay open and nobody answers."""
        self.container.pause()

    def unpause(self) -> None:
        """Let it continue."""
        self.container.unpause()

    @property
    def cpu_quota(self) -> int:
        """Return the microseconds of each period that it may use; -1 for no limit."""
        return self.container.attrs["HostConfig"]["CpuQuota"] or _NO_LIMIT

    def limit_cpu(self, quota: int) -> None:
        """Limit it to so many microseconds of each period."""
        self.container.update(cpu_period=_PERIOD, cpu_quota=quota)

    @property
    def throttlings(self) -> int:
        """Return how often it had to wait for the rest of a period, having used up its quota."""
        stats = self._docker.api.stats(str(self.container.id), stream=False, one_shot=True)
        return int(stats["cpu_stats"]["throttling_data"]["throttled_periods"])

    @property
    def networks(self) -> dict[str, list[str] | None]:
        """Return the networks that it is on, by id, with its names there.

        Raises:
            ValueError: it shares this machine's network.
        """
        container = self.container
        if container.attrs["HostConfig"]["NetworkMode"] == "host":
            raise ValueError(
                f"{self.name} is on this machine's own network, which is not cut: "
                "server_paused has it not answer either"
            )
        joined: dict[str, dict[str, Any]] = container.attrs["NetworkSettings"]["Networks"]
        return {network["NetworkID"]: network["Aliases"] for network in joined.values()}

    def leave(self, networks: Iterable[str]) -> None:
        """Disconnect it from networks."""
        for number in networks:
            self._docker.networks.get(number).disconnect(self.container)

    def join(self, networks: Mapping[str, list[str] | None]) -> None:
        """Connect it to networks, where it is not on them."""
        for number in networks.keys() - self.networks.keys():
            self._docker.networks.get(number).connect(self.container, aliases=networks[number])

    def _find(self) -> Container:
        container = find(self._docker, self._project, self.name)
        if container is None:
            raise ValueError(f"{self.name} is in no container of the stack {self._project}")
        return container

    def _serves(self) -> bool:
        container = self.container
        if container.status != "running":
            last = container.logs(tail=1).decode(errors="replace").strip()
            raise RuntimeError(f"{self.name} stopped at its start: {last}")
        host, _, port = self.address.rpartition(":")
        if self.name == "zookeeper":  # it listens before it serves
            return zookeeper_session.serves(host, int(port))
        return _has_a_broker(self.address) if self.name == "kafka" else ports.answers(self.address)


@contextmanager
def server_of(home: Home, name: str) -> Iterator[Server]:
    """Connect to a server that a lab uses in a container.

    Raises:
        ValueError: the lab uses no containers, or this one is not there.
        RuntimeError: no Docker engine answers.
    """
    stack = home.state().get("stack")
    if stack != "containers":
        raise ValueError(
            f"there is no {name} in an {stack} lab, whose own are database_away, broker_away "
            "and registry_away; labkit up --stack containers has it"
        )
    settings = home.settings()
    try:
        with engine.connect() as docker:
            yield Server(docker, compose_file.read(settings).name, name)
    except engine.DockerUnusable as error:
        raise RuntimeError(str(error)) from None


def quota_of(percent: float) -> int:
    """Return the microseconds of each period that are so many percent of one CPU."""
    return int(_PERIOD * percent / 100)


def _has_a_broker(address: str) -> bool:
    """Return True if Kafka names its brokers to clients: it listens long before it does."""
    try:
        admin = KafkaAdminClient(bootstrap_servers=address, bootstrap_timeout_ms=2000)
    except KafkaError:
        return False
    try:
        return bool(admin.describe_cluster()["brokers"])
    except KafkaError:
        return False
    finally:
        admin.close()
