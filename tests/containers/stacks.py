"""Stacks of the tests' own: names, ports and images that no developer's stack has."""

import itertools
import os
import re
import socket
from contextlib import ExitStack
from pathlib import Path

import psutil
from docker import DockerClient
from docker.models.containers import Container

from labkit.settings import Settings
from labkit.stack import containers
from labkit.stack.creation import OURS, PROJECT, SERVICE

_IMAGES_FILE = Path(__file__).parents[2] / "compose" / "offline" / "images.env"
#: Variable → the image that compose/offline/build makes.
IMAGES = dict(re.findall(r"^(LABKIT_\w+)=(.+)$", _IMAGES_FILE.read_text(), re.MULTILINE))
_PREFIX = "labkit-tests"
_NUMBERS = itertools.count(1)


def own_settings() -> Settings:
    """Of a stack that nobody else has: all on the loopback of this machine."""
    first = free_ports(5)
    images = {name.removeprefix("LABKIT_").lower(): image for name, image in IMAGES.items()}
    return Settings(
        containers_name=f"{_PREFIX}-{os.getpid()}-{next(_NUMBERS)}", containers_network="host",
        mysql_port=first, zookeeper_port=first + 1, kafka_port=first + 2,
        **{name: image for name, image in images.items() if name in Settings.model_fields},
    )  # fmt: skip


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
        self._labels = [f"{PROJECT}={project}", f"{SERVICE}={service}"]

    @property
    def container(self) -> Container:
        """The container as it is now."""
        (found,) = self._docker.containers.list(all=True, filters={"label": self._labels})
        return found

    def kill(self) -> None:
        """Kill −9: nothing is flushed that was not."""
        self.container.kill()

    def pause(self) -> None:
        """Stop it where it stands; connections stay open and nobody answers."""
        self.container.pause()

    def unpause(self) -> None:
        """Let it go on."""
        self.container.unpause()

    def start(self) -> None:
        """Start it; it is not ready yet."""
        self.container.start()

    def restart(self) -> None:
        """Stop it in an orderly way, and start it."""
        self.container.restart()


def free_ports(count: int) -> int:
    """The first of so many free ports in a row."""
    while True:
        with ExitStack() as held:
            first = held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            try:
                for port in range(first + 1, first + count):
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
            except (OSError, OverflowError):
                continue
            return first
