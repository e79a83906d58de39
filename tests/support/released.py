"""What a release promises the releases beside it: messages, calls, topics, tables, failpoints.

`python -m tests.support.released` prints the promises of this tree. At a release they become
`tests/unit/contracts/released.json`, with which every later tree is compared.
"""

import json
from collections.abc import Iterator
from enum import EnumType
from typing import Any, get_args

from pydantic import BaseModel
from sqlalchemy import Table

from labkit.faults.points import catalogue
from labkit.ops.invariants.views import OPERATIONS
from labkit.payment_platform.tables import PLATFORM_TABLES
from labkit.results import Message, Result
from labkit.runtime.codes import RuntimeCode
from labkit.runtime.db.operations import APPLIED, BLOCKED, REFUSED, UNDONE
from labkit.runtime.db.tables import DEAD, DONE, GIVEN_UP, SENT, SETTLED, UNSENT, WAITING
from labkit.runtime.messaging.admin import AdminService
from labkit.runtime.rpc import protocol
from labkit.runtime.rpc.contract import methods_of
from labkit.runtime.steps import Event
from labkit.shop import states
from labkit.shop.codes import Code
from labkit.shop.tables import TABLES
from labkit.shop.wiring import GROUPS, SERVICES

Promises = dict[str, Any]


def promises() -> Promises:
    """The promises of this tree, as plain data."""
    calls = dict(_calls())
    events = {event for service in SERVICES.values() for event in service.handlers}
    kinds = {kind.__name__: kind for kind in _messages([*calls.values(), *events, Result])}
    return {
        "messages": {name: _message(kind) for name, kind in sorted(kinds.items())},
        "calls": {name: [_name(kind) for kind in call] for name, call in sorted(calls.items())},
        "topics": {topic: sorted(groups) for topic, groups in sorted(GROUPS.items())},
        "events": {event.topic: event.__name__ for event in sorted(events, key=_name)},
        "operations": {service: sorted(names) for service, names in sorted(OPERATIONS.items())},
        "tables": {
            f"{service}.{table.name}": _table(table)
            for service, tables in {**TABLES, "platform": PLATFORM_TABLES}.items()
            for table in tables
        },
        "values": {
            name: sorted(str(member.value) for member in kind)
            for name, kind in sorted(vars(states).items())
            if isinstance(kind, EnumType) and kind.__module__ == states.__name__
        }
        | {
            "outcomes of operations": sorted((APPLIED, REFUSED, BLOCKED, UNDONE)),
            "states of the outbox": [f"{UNSENT} {SENT} {SETTLED} {GIVEN_UP}"],
            "states of the inbox": [f"{WAITING} {DONE} {DEAD}"],
            "the protocol of calls": [str(protocol.VERSION)],
        },
        "codes": {
            code.name: [code.value, code.status] for codes in (RuntimeCode, Code) for code in codes
        },
        "failpoints": sorted(catalogue()),
    }


def _calls() -> Iterator[tuple[str, tuple[Any, Any]]]:
    for service in SERVICES.values():
        if service.contract:
            for contract in (service.contract, AdminService):
                for name, method in methods_of(contract).items():
                    yield f"{service.name}.{name}", (method.request, method.answer._type)


def _messages(kinds: Any) -> Iterator[type[Message]]:
    """Every message class in some types, and in the fields of those."""
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if issubclass(kind, Message) and not kind.__pydantic_generic_metadata__["args"]:
                yield kind
            yield from _messages([field.annotation for field in kind.model_fields.values()])
        else:
            yield from _messages(kind if isinstance(kind, tuple) else get_args(kind))


def _message(kind: type[Message]) -> dict[str, Any]:
    schema = kind.model_json_schema()
    required = schema.get("required", [])
    return {
        "version": kind.version,
        "reads": _read_versions(kind),
        "event": issubclass(kind, Event),
        "enums": {
            name: each["enum"] for name, each in schema.get("$defs", {}).items() if "enum" in each
        },
        "fields": {
            name: {
                "required": name in required,
                "is": {key: each for key, each in field.items() if key not in ("title", "default")},
                "default": json.dumps(field.get("default")),
            }
            for name, field in schema.get("properties", {}).items()
        },
    }


def _read_versions(kind: type[Message]) -> list[int]:
    """The versions that everyone can read who handles this event, or serves this request."""
    readers = [
        service.upcasts.get(kind, {})
        for service in SERVICES.values()
        if kind in service.handlers
        or any(m.request is kind for m in methods_of(service.contract or object).values())
    ]
    versions = [kind.version]
    while versions[0] > 1 and all(versions[0] - 1 in known for known in readers):
        versions.insert(0, versions[0] - 1)
    return versions


def _table(table: Table) -> dict[str, Any]:
    return {
        column.name: {
            "is": str(column.type),
            "nullable": bool(column.nullable),
            "key": bool(column.primary_key),
        }
        for column in table.columns
    }


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind))


def as_text(promises_: Promises) -> str:
    """Promises as JSON with a line for each, so that a change can be read."""
    parts = []
    for part, entries in promises_.items():
        if isinstance(entries, dict):
            pairs = (f"  {json.dumps(name)}: {json.dumps(each)}" for name, each in entries.items())
            parts.append(f" {json.dumps(part)}: {{\n" + ",\n".join(pairs) + "\n }")
        else:
            items = (f"  {json.dumps(each)}" for each in entries)
            parts.append(f" {json.dumps(part)}: [\n" + ",\n".join(items) + "\n ]")
    return "{\n" + ",\n".join(parts) + "\n}"


if __name__ == "__main__":
    print(as_text(promises()))
