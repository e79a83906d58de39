"""The state file of a lab: the supervisor writes it for everybody who reads a lab from outside."""

from collections.abc import Collection, Mapping
from enum import StrEnum
from types import UnionType
from typing import Any, NotRequired, TypedDict


class Phase(StrEnum):
    """The phases in the life of a lab."""

    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"
    DOWN = "down"
    #: `labkit init` made the home, and its services are started one by one.
    FOUNDED = "founded"


class ServiceStatus(TypedDict):
    """One process of the lab, as `labkit status` lists it; without a pid it is dead."""

    name: str
    instance: int
    pid: int | None
    endpoint: str | None
    state: str
    release: NotRequired[str | None]  # of the shop; not there in what an earlier labkit wrote


def label_of(process: ServiceStatus) -> str:
    """Return the name of one process, such as `goods-1`."""
    return f"{process['name']}-{process['instance']}"


class ProcessRecord(TypedDict):
    """The identity of a process that the supervisor has started: another may get its pid later."""

    pid: int
    birth: str | None


class LabStatus(TypedDict):
    """The part of the state that `labkit status --json` prints."""

    stack: str | None
    home: str
    endpoints: dict[str, Any]
    databases: dict[str, Any]
    services: list[ServiceStatus]
    supervisor: int | None


class LabState(TypedDict, total=False):
    """The whole state. Every key is there, or none is, where no lab ever ran."""

    stack: str | None
    home: str
    endpoints: dict[str, Any]
    databases: dict[str, Any]
    services: list[ServiceStatus]
    supervisor: int | None
    phase: str
    supervisor_birth: str | None
    control: int
    topic_prefix: str
    generation: int
    processes: list[ProcessRecord]
    instances: dict[str, int]


#: What every state holds, and of what type: readers rely on it.
_TYPES: dict[str, type | UnionType] = {
    "stack": str | None,
    "phase": str,
    "supervisor": int | None,
    "generation": int,
    "topic_prefix": str,
    "endpoints": dict,
    "databases": dict,
    "services": list,
}


def is_state(
    values: Mapping[str, Any], endpoints: Collection[str], databases: Collection[str]
) -> bool:
    """Return True if a state has all that its readers rely on.

    Args:
        values: the content of a file.
        endpoints: the endpoints that it must name.
        databases: the databases that it must name.
    """
    return (
        values.keys() >= _TYPES.keys()
        and all(isinstance(values[name], kind) for name, kind in _TYPES.items())
        and values["endpoints"].keys() >= set(endpoints)
        and values["databases"].keys() >= set(databases)
        and all(map(_is_service, values["services"]))
    )


def _is_service(value: object) -> bool:
    return isinstance(value, dict) and value.keys() >= ServiceStatus.__required_keys__
