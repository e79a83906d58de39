"""The backends of a lab: files and a broker of its own, or servers in containers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from labkit.settings import Settings


class Stack(StrEnum):
    """The stacks that a lab can run on."""

    auto = "auto"
    embedded = "embedded"
    containers = "containers"


@dataclass(frozen=True)
class Backends:
    """The backends that were chosen for a lab.

    Attributes:
        stack: embedded or containers.
        reason: why `auto` took the stack that it took; empty where the choice was not open.
        servers: the settings that name the servers, as environment variables.
    """

    stack: Stack
    reason: str = ""
    servers: Mapping[str, str] = field(default_factory=dict)


def choose(stack: Stack, on_progress: Callable[[str], None]) -> Backends:
    """Choose the backends of a lab, and start the servers that they need.

    Args:
        stack: `auto` takes containers where an engine answers that has the images.
        on_progress: called with what takes time.

    Raises:
        RuntimeError: there can be no containers; one line that says what to do.
    """
    if stack is Stack.embedded:
        return Backends(stack)
    from labkit.stack.containers import (
        stack as containers,  # here: Docker's client takes long to load
    )

    settings = Settings()
    if stack is Stack.auto and (obstacle := containers.obstacle(settings)):
        return Backends(Stack.embedded, f"auto: {obstacle}")
    try:
        addresses = containers.up(settings, on_progress)
    except containers.DockerUnusable as error:
        raise RuntimeError(str(error)) from None
    return Backends(
        Stack.containers,
        "auto: a Docker engine has the images" if stack is Stack.auto else "",
        {
            "LABKIT_MYSQL": settings.mysql or addresses.mysql,
            "LABKIT_BROKER": settings.broker or addresses.broker,
            "LABKIT_ZOOKEEPER": settings.zookeeper or addresses.zookeeper,
        },
    )


def remove(*, volumes: bool) -> list[str]:
    """Remove the containers that labkit made.

    Args:
        volumes: whether to remove all their data too.

    Returns:
        The names of what was removed.

    Raises:
        RuntimeError: no Docker engine answers.
    """
    from labkit.stack.containers import (
        stack as containers,  # here: Docker's client takes long to load
    )

    try:
        return containers.down(Settings(), volumes=volumes)
    except containers.DockerUnusable as error:
        raise RuntimeError(str(error)) from None
