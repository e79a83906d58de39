"""The reader of compose/compose.yaml, which describes the containers for people and for labkit."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

import labkit
from labkit.settings import Settings

_HERE = Path(labkit.__file__).parent
#: Label with `host:port` of the server in a container.
ADDRESS = "io.labkit.address"
#: A part of the file as YAML reads it, before `Service` says what must be there.
Node = Any
_KAFKA_PORT = 9092
_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+):-(?P<default>[^}]*)\})")


class _Strict(BaseModel):
    """A part of the file; a key that is not declared here is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Health(_Strict):
    """The command that shows whether a server is ready."""

    test: list[str]
    interval: str
    timeout: str
    retries: int


class Service(_Strict):
    """One service of the file, its settings filled in."""

    image: str
    command: list[str] | None = None
    environment: dict[str, str]
    ports: list[str]
    volumes: list[str]
    mem_limit: str
    labels: dict[str, str]
    healthcheck: Health

    @property
    def port(self) -> int:
        """Return the port: the same number inside the container and on 127.0.0.1."""
        return int(self.ports[0].rpartition(":")[2])

    @property
    def listens(self) -> list[int]:
        """Return all ports that it takes, which matters where it shares this machine's network."""
        more = re.findall(r"://[^:]+:(\d+)", self.environment.get("KAFKA_LISTENERS", ""))
        return sorted({self.port, *map(int, more)})


@dataclass(frozen=True)
class ComposeProject:
    """The project that the file describes.

    Attributes:
        name: of the project.
        services: name → service, of those that start without a profile.
    """

    name: str
    services: dict[str, Service]


def read(settings: Settings) -> ComposeProject:
    """Read the file.

    Args:
        settings: the values of its variables; an empty one takes the default in the file.
    """
    document = _fill_in(yaml.safe_load(_text()), _values(settings))
    services = {
        name: Service.model_validate(service)
        for name, service in document["services"].items()
        if "profiles" not in service
    }
    return ComposeProject(settings.containers_name or document["name"], services)


def _text() -> str:
    folder = _HERE.parent / "compose"
    folder = folder if folder.exists() else _HERE / "_compose"
    return (folder / "compose.yaml").read_text(encoding="utf-8")


def _values(settings: Settings) -> dict[str, str]:
    values = {f"LABKIT_{name.upper()}": str(value) for name, value in settings if value}
    if settings.containers_network == "host":
        kafka = settings.kafka_port or _KAFKA_PORT
        values |= {
            "LABKIT_LISTEN": "127.0.0.1",
            "LABKIT_KAFKA_INSIDE_PORT": str(kafka + 1),
            "LABKIT_KAFKA_CONTROLLER_PORT": str(kafka + 2),
        }
    return values


def _fill_in(node: Node, values: dict[str, str]) -> Node:
    """Replace `${NAME:-default}` and `$$` in all texts, as Compose does."""
    if isinstance(node, dict):
        return {key: _fill_in(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_fill_in(value, values) for value in node]
    if isinstance(node, str):
        return _VARIABLE.sub(
            lambda match: values.get(match["name"], match["default"]) if match["name"] else "$",
            node,
        )
    return node
