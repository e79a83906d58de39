"""The ground that a lab stands on: files and a broker of its own, or servers in containers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from labkit.settings import Settings


class Stack(StrEnum):
    """The grounds that a lab can stand on."""

    auto = "auto"
    embedded = "embedded"
    containers = "containers"


@dataclass(frozen=True)
class Backends:
    """What was chosen.

    Attributes:
        stack: embedded or containers.
        why: why `auto` took the one that it took; empty where nothing was left open.
        servers: what the settings of the lab shall say of them, as environment variables.
    """

    stack: Stack
    why: str = ""
    servers: Mapping[str, str] = field(default_factory=dict)


def choose(stack: Stack, progress: Callable[[str], None]) -> Backends:
    """Have the ground there that is asked for.

    Args:
        stack: `auto` takes containers where an engine answers that has the images.
        progress: told what takes time.

    Raises:
        RuntimeError: there can be no containers; one line that says what to do.
    """
    if stack is Stack.embedded:
        return Backends(stack)
    from labkit.stack.containers import (
        stack as containers,  # here: Docker's client takes long to load
    )

    settings = Settings()
    if stack is Stack.auto and (why := containers.usable(settings)):
        return Backends(Stack.embedded, f"auto: {why}")
    try:
        found = containers.up(settings, progress)
    except containers.DockerUnusable as error:
        raise RuntimeError(str(error)) from None
    why = "auto: a Docker engine has the images" if stack is Stack.auto else ""
    return Backends(
        Stack.containers,
        why,
        {
            "LABKIT_MYSQL": settings.mysql or found.mysql,
            "LABKIT_BROKER": settings.broker or found.broker,
            "LABKIT_ZOOKEEPER": settings.zookeeper or found.zookeeper,
        },
    )


def remove(*, volumes: bool) -> list[str]:
    """Remove the containers that labkit made.

    Args:
        volumes: whether all that they hold goes too.

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
