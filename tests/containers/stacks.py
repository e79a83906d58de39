"""Stacks of the tests' own: names, ports and images that no developer's stack has."""

import itertools
import os
import re
import signal
from pathlib import Path

import psutil
from docker import DockerClient
from docker.models.containers import Container
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from labkit.runtime import ensemble
from labkit.settings import Settings
from labkit.stack import containers, ports
from labkit.stack.compose_file import ADDRESS
from labkit.stack.creation import OURS, PROJECT, find
from tests.waiting import until

_IMAGES_FILE = Path(__file__).parents[2] / "compose" / "offline" / "images.env"
#: Variable → the image that compose/offline/build makes.
IMAGES = dict(re.findall(r"^(LABKIT_\w+)=(.+)$", _IMAGES_FILE.read_text(), re.MULTILINE))
_PREFIX = "labkit-tests"
_NUMBERS = itertools.count(1)
_SERVERS = ("mysql", "kafka", "zookeeper")
_OWN = {"containers_name", "containers_network"} | {
    f"{name}_{what}" for name in _SERVERS for what in ("image", "port")
}


def own_settings() -> Settings:
    """Of a stack that nobody else has: all on the loopback of this machine."""
    first = ports.free(5)
    images = {name.removeprefix("LABKIT_").lower(): image for name, image in IMAGES.items()}
    return Settings(
        containers_name=f"{_PREFIX}-{os.getpid()}-{next(_NUMBERS)}", containers_network="host",
        mysql_port=first, zookeeper_port=first + 1, kafka_port=first + 2,
        **{name: image for name, image in images.items() if name in Settings.model_fields},
    )  # fmt: skip


def environment(stack: Settings) -> dict[str, str]:
    """What has a lab, started by whatever way, stand on a stack of the tests' own."""
    told = stack.model_dump(include=_OWN, mode="json")
    return {"LABKIT_STACK": "containers"} | {
        f"LABKIT_{name.upper()}": str(value) for name, value in told.items()
    }


def sweep(docker: DockerClient) -> None:
    """Remove what test runs left that were killed."""
    found = docker.containers.list(all=True, filters={"label": OURS})
    for name in {one.labels[OURS] for one in found if one.labels[OURS].startswith(_PREFIX)}:
        if not psutil.pid_exists(int(name.split("-")[2])):
            containers.down(Settings(containers_name=name), volumes=True)


class Backend:
    """One server in its container, to be treated badly.

    Args:
        docker: where it runs.
        project: its stack.
        service: which one: mysql, kafka or zookeeper.
    """

    def __init__(self, docker: DockerClient, project: str, service: str) -> None:
        self._docker = docker
        self._project = project
        self.name = service

    @property
    def container(self) -> Container:
        """The container as it is now."""
        found = find(self._docker, self._project, self.name)
        assert found
        return found

    @property
    def address(self) -> str:
        """`host:port` where it serves its clients."""
        return self.container.labels[ADDRESS]

    def kill(self) -> None:
        """Kill −9, and see it dead: nothing is flushed that was not."""
        self.container.kill()
        until(lambda: self.container.status == "exited", f"{self.name} is dead")
        assert self.container.attrs["State"]["ExitCode"] == 128 + signal.SIGKILL

    def pause(self) -> None:
        """Stop it where it stands; connections stay open and nobody answers."""
        self.container.pause()
        assert self.container.status == "paused"

    def unpause(self) -> None:
        """Let it go on."""
        self.container.unpause()

    def start(self) -> None:
        """Start it, and wait until it serves its clients."""
        self.container.start()
        until(self._serves, f"{self.name} serves", seconds=60)

    def forget(self) -> None:
        """Lose all data; it must be dead."""
        self.run_beside('rm -rf "$0"/*')

    def run_beside(self, script: str, *words: str) -> str:
        """Run a shell script, with the folder of the data as `$0`, where the server is dead.

        Returns:
            What it printed.
        """
        container = self.container
        assert container.status == "exited"
        project = container.labels[PROJECT]
        (folder,) = [one["Destination"] for one in container.attrs["Mounts"]
                     if one["Name"].startswith(f"{project}_")]  # fmt: skip
        told = self._docker.containers.run(
            container.image, [script, folder, *words], entrypoint=["/bin/sh", "-c"], user="root",
            volumes_from=[container.id], network_mode="none", remove=True, stderr=True,
        )  # fmt: skip
        return told.decode()

    def _serves(self) -> bool:
        assert self.container.status == "running", self.container.logs(tail=20).decode()
        host, _, port = self.address.rpartition(":")
        if self.name == "zookeeper":  # it listens before it serves
            return ensemble.serves(host, int(port))
        return _has_a_broker(self.address) if self.name == "kafka" else ports.answers(self.address)


def _has_a_broker(address: str) -> bool:
    """Whether Kafka tells its clients whom to ask: it listens long before."""
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
