"""The creation of a container, its network and its volumes, with labels of ours and of Compose.

With Compose's labels on them, `docker compose ps`, `logs` and `down` see them too.
"""

import hashlib
import re
from typing import Any

from docker import DockerClient
from docker.models.containers import Container

from labkit.stack.containers.compose_file import Service

#: Label of what labkit made: the project's name.
OURS = "io.labkit.stack"
#: Label: a digest of all that the container was made from; Compose ignores containers without it.
MADE_FROM = "com.docker.compose.config-hash"
PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"
_NANOSECONDS = 10**9


def find(docker: DockerClient, project: str, service: str) -> Container | None:
    """Return the container of a project's service, whoever made it and whether it runs or not."""
    labels = [f"{PROJECT}={project}", f"{SERVICE}={service}"]
    containers = docker.containers.list(all=True, filters={"label": labels})
    return containers[0] if containers else None


class Maker:
    """Makes the parts of one project.

    Args:
        docker: the engine.
        project: its name, which is the prefix of all names.
        host_network: whether the servers listen on this machine's own loopback.
    """

    def __init__(self, docker: DockerClient, project: str, *, host_network: bool) -> None:
        self._docker = docker
        self._project = project
        self._network = "host" if host_network else f"{project}_default"
        self._labels = {OURS: project, PROJECT: project}

    def container_name(self, name: str) -> str:
        """Return the name that Docker Compose would give the container of a service."""
        return f"{self._project}-{name}-1"

    def prepare(self, services: dict[str, Service]) -> None:
        """Make the network and the volumes, where they are not there yet."""
        if self._network != "host" and not self._docker.networks.list(names=[self._network]):
            labels = self._labels | {"com.docker.compose.network": "default"}
            self._docker.networks.create(self._network, labels=labels)
        for volume in (volume for service in services.values() for volume in _volumes(service)):
            labels = self._labels | {"com.docker.compose.volume": volume}
            self._docker.volumes.create(f"{self._project}_{volume}", labels=labels)

    def make(self, name: str, service: Service) -> Container:
        """Make the container of a service; it does not run yet."""
        api = self._docker.api
        created = api.create_container(
            service.image,
            name=self.container_name(name),
            command=service.command,
            environment=service.environment,
            labels=self._labels
            | service.labels
            | {
                SERVICE: name,
                "com.docker.compose.container-number": "1",
                "com.docker.compose.oneoff": "False",
                MADE_FROM: self.made_from(service),
            },
            healthcheck=_health(service),
            ports=[] if self._network == "host" else [service.port],
            host_config=self._host_config(service),
            networking_config=self._networking(name),
        )
        return self._docker.containers.get(created["Id"])

    def made_from(self, service: Service) -> str:
        """Return a digest of the description, the image's contents and the network."""
        image = str(self._docker.images.get(service.image).id)
        return hashlib.sha256(
            "\n".join((service.model_dump_json(), image, self._network)).encode()
        ).hexdigest()

    def _networking(self, name: str) -> Any:
        if self._network == "host":
            return None
        endpoint = self._docker.api.create_endpoint_config(aliases=[name])
        # mypy: the stubs take this for one endpoint, and it is a name → endpoint.
        return self._docker.api.create_networking_config({self._network: endpoint})  # type: ignore[arg-type]

    def _host_config(self, service: Service) -> Any:
        published: dict[int | str, tuple[str, int]] = {}
        if self._network != "host":
            published[service.port] = ("127.0.0.1", service.port)
        return self._docker.api.create_host_config(
            network_mode=self._network,
            port_bindings=published,
            mem_limit=service.mem_limit,
            binds={
                f"{self._project}_{volume}": {"bind": path, "mode": "rw"}
                for volume, path in _volumes(service).items()
            },
        )


def _volumes(service: Service) -> dict[str, str]:
    return dict(volume.split(":") for volume in service.volumes)


def _health(service: Service) -> dict[str, object]:
    healthcheck = service.healthcheck
    return {
        "test": healthcheck.test,
        "interval": _nanoseconds(healthcheck.interval),
        "timeout": _nanoseconds(healthcheck.timeout),
        "retries": healthcheck.retries,
    }


def _nanoseconds(text: str) -> int:
    """Parse a time like 5s, the only form in the file."""
    match = re.fullmatch(r"(\d+)s", text)
    assert match, f"{text}: write whole seconds, such as 5s"
    return int(match[1]) * _NANOSECONDS
