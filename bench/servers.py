"""MySQL, Kafka and ZooKeeper in containers of the bench's own, and what they cost."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from docker import DockerClient
from docker.models.containers import Container

from labkit.settings import Settings
from labkit.stack.containers import engine, stack
from labkit.stack.containers.create import PROJECT, SERVICE
from labkit.stack.setup import backends
from labkit.stack.supervisor import ports

_NANOSECONDS = 1e9


class Servers:
    """The three servers under one name.

    Args:
        docker: where they are.
        settings: their name, ports and images.
    """

    def __init__(self, docker: DockerClient, settings: Settings) -> None:
        self._docker = docker
        self._settings = settings

    def up(self) -> backends.Backends:
        """Bring all of them up and ready; a lab stands on what is returned."""
        return backends.choose(backends.Stack.containers, lambda _: None)

    def kill(self, name: str) -> None:
        """Kill one with −9."""
        self._found()[name].kill()

    def cpu_seconds(self) -> dict[str, float]:
        """Return what each has used so far."""
        used = {name: stats["cpu_stats"]["cpu_usage"] for name, stats in self._stats().items()}
        return {name: usage["total_usage"] / _NANOSECONDS for name, usage in used.items()}

    def memory_mb(self) -> float:
        """Return what all of them hold in memory, without what the kernel keeps of their files."""
        return sum(_used(stats["memory_stats"]) for stats in self._stats().values()) / 1e6

    def _stats(self) -> dict[str, Any]:
        api = self._docker.api  # one_shot: without it the engine looks twice, a second apart
        return {
            name: api.stats(str(container.id), stream=False, one_shot=True)
            for name, container in self._found().items()
        }

    def _found(self) -> dict[str, Container]:
        label = f"{PROJECT}={self._settings.containers_name}"
        containers = self._docker.containers.list(filters={"label": label})
        return {container.labels[SERVICE]: container for container in containers}


@contextmanager
def servers() -> Iterator[Servers]:
    """Reserve a name and ports for a block; in the end all of it goes, data too.

    They stand in the environment meanwhile, so that a `labkit up` of ours takes them too.

    Raises:
        RuntimeError: no Docker engine answers; one line that says what to do.
    """
    first = ports.free(5)
    own = {
        "LABKIT_CONTAINERS_NAME": f"labkit-bench-{os.getpid()}",
        "LABKIT_MYSQL_PORT": str(first),
        "LABKIT_ZOOKEEPER_PORT": str(first + 1),
        "LABKIT_KAFKA_PORT": str(first + 2),
    }
    before = {name: os.environ.get(name) for name in own}
    os.environ |= own
    settings = Settings()
    try:
        with engine.connect() as docker:
            yield Servers(docker, settings)
    except engine.DockerUnusable as error:
        raise RuntimeError(str(error)) from None
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        with suppress(engine.DockerUnusable):
            stack.down(settings, volumes=True)


def _used(memory: Any) -> int:
    """Bytes, as the engine's own `docker stats` counts: cgroups of both versions."""
    details = memory["stats"]
    cached = details.get("total_inactive_file", details.get("inactive_file", 0))
    return int(memory["usage"] - cached)
