"""Stacks of the tests' own: names, ports and images that no developer's stack has."""

import itertools
import os
import re
from pathlib import Path

import psutil
from docker import DockerClient

from labkit.faults.containers import Server
from labkit.settings import Settings
from labkit.stack.containers import stack as containers
from labkit.stack.containers.create import OURS, PROJECT
from labkit.stack.supervisor import ports

_IMAGES_FILE = Path(__file__).parents[3] / "compose" / "offline" / "images.env"
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
        containers_name=f"{_PREFIX}-{os.getpid()}-{next(_NUMBERS)}",
        containers_network="host",
        mysql_port=first,
        zookeeper_port=first + 1,
        kafka_port=first + 2,
        **{name: image for name, image in images.items() if name in Settings.model_fields},
    )


def environment(stack: Settings) -> dict[str, str]:
    """Return settings that have a lab, however started, stand on a stack of the tests' own."""
    settings = stack.model_dump(include=_OWN, mode="json")
    return {"LABKIT_STACK": "containers"} | {
        f"LABKIT_{name.upper()}": str(value) for name, value in settings.items()
    }


def sweep(docker: DockerClient) -> None:
    """Remove what test runs left that were killed."""
    resources = docker.containers.list(all=True, filters={"label": OURS})
    for name in {
        container.labels[OURS]
        for container in resources
        if container.labels[OURS].startswith(_PREFIX)
    }:
        if not psutil.pid_exists(int(name.split("-")[2])):
            containers.down(Settings(containers_name=name), volumes=True)


class Backend(Server):
    """A server whose data are treated badly too."""

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
        (folder,) = [
            mount["Destination"]
            for mount in container.attrs["Mounts"]
            if mount["Name"].startswith(f"{project}_")
        ]
        output = self._docker.containers.run(
            container.image,
            [script, folder, *words],
            entrypoint=["/bin/sh", "-c"],
            user="root",
            volumes_from=[container.id],
            network_mode="none",
            remove=True,
            stderr=True,
        )
        return output.decode()
