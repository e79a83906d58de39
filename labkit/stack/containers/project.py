"""The containers of one project: found, created, started, awaited, stopped and removed."""

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from docker import DockerClient
from docker.errors import APIError
from docker.models.containers import Container
from docker.models.networks import Network
from docker.models.volumes import Volume
from docker.utils import parse_bytes

from labkit.settings import Settings
from labkit.stack.containers import compose_file
from labkit.stack.containers.compose_file import Service
from labkit.stack.containers.create import MADE_FROM, OURS, Maker, find
from labkit.stack.containers.engine import DockerUnusable, explain
from labkit.waiting import poll_until

_READY_S = 90
_STOP_S = 10
_GIB = 2**30


class Project:
    """The containers, networks and volumes under one name at one engine.

    Args:
        docker: the engine.
        settings: name, network, images, ports and password.
        on_progress: called, line by line, with what takes time.
    """

    def __init__(
        self, docker: DockerClient, settings: Settings, on_progress: Callable[[str], None]
    ) -> None:
        self._docker = docker
        project = compose_file.read(settings)
        self._name, self._services = project.name, project.services
        self._host = settings.containers_network == "host"
        self._maker = Maker(docker, self._name, host_network=self._host)
        self._on_progress, self._progress_lock = on_progress, threading.Lock()
        self._started: list[Container] = []

    def images(self) -> list[str]:
        """Return the images that it needs."""
        return [service.image for service in self._services.values()]

    def check(self) -> None:
        """Check that there is memory, and that nobody else has the ports.

        Raises:
            DockerUnusable: there is not, or somebody has.
        """
        check_memory(self._docker, self._services)
        for name, service in self._services.items():
            container = self._find(name)
            if not container or container.status not in ("running", "paused"):
                for port in service.listens if self._host else [service.port]:
                    _check_port(name, port)

    def up(self) -> dict[str, Container]:
        """Start all containers, and return each by its service when it is ready.

        Raises:
            DockerUnusable: one cannot be; those that this call started are stopped again.
        """
        try:
            self._maker.prepare(self._services)
            with ThreadPoolExecutor(len(self._services)) as pool:
                containers = pool.map(self._bring_up, self._services, self._services.values())
                return dict(zip(self._services, containers, strict=True))
        except (APIError, DockerUnusable) as error:
            for container in self._started:
                container.stop(timeout=_STOP_S)
            raise DockerUnusable(explain(error)) from None

    def down(self, *, volumes: bool) -> list[str]:
        """Remove what labkit made, and say what that was."""
        ours: dict[str, str | list[str] | bool] = {"label": f"{OURS}={self._name}"}
        containers = self._docker.containers.list(all=True, filters=ours)
        with ThreadPoolExecutor(len(containers) or 1) as pool:
            list(pool.map(_remove, containers))
        parts: list[Network | Volume] = [*self._docker.networks.list(filters=ours)]
        if volumes:
            parts += self._docker.volumes.list(filters=ours)
        return sorted(str(part.name) for part in [*containers, *filter(_remove_unused, parts)])

    def _bring_up(self, name: str, service: Service) -> Container:
        container = self._find(name)
        if container and self._is_outdated(container, service):
            self._progress(f"{name}: its settings or its image changed, so it is made anew")
            _remove(container)
            container = None
        container = container or self._maker.make(name, service)
        if container.status == "running":
            self._progress(f"{name} is up already")
        elif container.status == "paused":
            container.unpause()
        else:
            self._progress(f"starting {name}")
            self._started.append(container)
            container.start()
        self._await_ready(name, container, service)
        return container

    def _progress(self, line: str) -> None:
        with self._progress_lock:
            self._on_progress(line)

    def _find(self, name: str) -> Container | None:
        return find(self._docker, self._name, name)

    def _is_outdated(self, container: Container, service: Service) -> bool:
        """Return True if we made it, and from another description; others may do as they like."""
        ours = container.labels.get(OURS) == self._name
        return ours and container.labels.get(MADE_FROM) != self._maker.made_from(service)

    def _await_ready(self, name: str, container: Container, service: Service) -> None:
        """Run its health check until it passes, without waiting for the engine's next turn."""
        kind, *command = service.healthcheck.test
        command = ["/bin/sh", "-c", *command] if kind == "CMD-SHELL" else command
        command = ["timeout", service.healthcheck.timeout, *command]
        complaint: str | None = ""

        def is_ready() -> bool:
            nonlocal complaint
            complaint = _complaint(container, command)
            if complaint is not None:
                container.reload()
                if container.status == "exited":
                    raise DockerUnusable(_explain_death(name, container))
            return complaint is None

        if not poll_until(is_ready, _READY_S, poll=0.1):
            raise DockerUnusable(
                f"{name} is not ready after {_READY_S} s ({complaint}): "
                f"docker logs {container.name}"
            )


def check_memory(docker: DockerClient, services: dict[str, Service]) -> None:
    """Check that the engine has the memory that the containers may take.

    Raises:
        DockerUnusable: it has not.
    """
    limit = sum(parse_bytes(service.mem_limit) for service in services.values())
    available = docker.info()["MemTotal"]
    if available < limit:
        raise DockerUnusable(
            f"Docker has {available / _GIB:.1f} GiB of memory and the containers may take "
            f"{limit / _GIB:.1f}: give it more (Docker Desktop: Settings, Resources)"
        )


def _check_port(name: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise DockerUnusable(
                f"port {port}, which {name} wants, is taken: stop what listens there, "
                f"or choose another: LABKIT_{name.upper()}_PORT={port + 10_000}"
            ) from None


def _complaint(container: Container, command: list[str]) -> str | None:
    """Run a health check; return its output where it fails, and None where it passes."""
    try:
        answer = container.exec_run(command)
    except APIError as error:  # it stopped meanwhile
        return explain(error)
    if answer.exit_code == 0:
        return None
    assert isinstance(answer.output, bytes)  # an iterator only where one is asked for
    return " ".join(answer.output.decode(errors="replace").split())


def _explain_death(name: str, container: Container) -> str:
    if container.attrs["State"]["OOMKilled"]:
        return f"{name} ran out of its memory: raise its mem_limit in compose.yaml"
    lines = container.logs(tail=50).decode(errors="replace").splitlines()
    messages = [line for line in lines if line.strip() and not line[0].isspace()]  # no stack trace
    last = messages[-1] if messages else "no word"
    return f"{name} stopped at its start ({last}): docker logs {container.name}"


def _remove_unused(part: Network | Volume) -> bool:
    try:
        part.remove()
    except APIError:  # a container that is not ours uses it
        return False
    return True


def _remove(container: Container) -> None:
    if container.status == "paused":
        container.unpause()
    container.stop(timeout=_STOP_S)
    container.remove(v=True)
