"""The rules by which two neighbouring releases can run beside each other.

Each names whom a change breaks: the new release that reads what the old one wrote, the old one that
reads what the new one wrote, or both.
"""

from collections.abc import Iterator, Mapping
from typing import Any


def broken(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Every promise of one release that another does not keep, and whom that breaks."""
    return [*_broken_messages(old, new), *_broken_names(old, new), *_broken_tables(old, new)]


def _broken_messages(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name, was in old["messages"].items():
        now = new["messages"].get(name)
        if now is None:
            yield f"{name} is gone: the old release still sends it"
        elif now["event"] != was["event"] or now["version"] < was["version"]:
            yield f"{name} is another kind of message: each release misreads the other"
        elif now["version"] > was["version"]:
            if was["version"] not in now["reads"]:
                old_one = f"{name} of version {was['version']}"
                yield f"{old_one} is read no more: it lies in outboxes still"
            if not was["event"]:
                yield f"{name} has a new version: an old service cannot wait with a call"
        else:
            yield from _broken_fields(name, was["fields"], now["fields"])
            for enum, values in was["enums"].items():
                if now["enums"].get(enum) != values:
                    yield f"{name} has other values of {enum}: each release misreads the other"


def _broken_fields(name: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for field, promise in was.items():
        if field not in now:
            if promise["required"]:
                yield f"{name}.{field} is gone: the old release cannot read what the new one sends"
            else:
                yield f"{name}.{field} is gone: what the old release says by it is overlooked"
        elif now[field]["is"] != promise["is"]:
            yield f"{name}.{field} is of another type: each release misreads the other"
        elif now[field]["default"] != promise["default"]:
            yield f"{name}.{field} has another default: what is not said means two things"
        elif now[field]["required"] and not promise["required"]:
            yield f"{name}.{field} is required now: the new release cannot read the old one's"
    for field in now.keys() - was.keys():
        if now[field]["required"]:
            yield f"{name}.{field} is new and required: the new release cannot read the old one's"
    kept = [field for field in was if field in now]
    if list(now)[: len(kept)] != kept:  # new fields come last, as unknown ones do in an old reader
        yield f"{name} has its fields in another order: the releases hash one request differently"


def _broken_names(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name, call in old["calls"].items():
        if name not in new["calls"]:
            yield f"the call {name} is gone: the old release still makes it"
        elif new["calls"][name] != call:
            yield f"the call {name} has another request or answer: each misreads the other"
    for topic, groups in old["topics"].items():
        for group in sorted(set(groups) - set(new["topics"].get(topic, ()))):
            yield f"{group} does not hear {topic} any more: the old release waits for it to have it"
    for topic, event in old["events"].items():
        if new["events"].get(topic) != event:
            yield f"{topic} carries another event: each release misreads the other"
    for service, names in old["operations"].items():
        for name in sorted(set(names) - set(new["operations"].get(service, ()))):
            yield f"{service} has no operation {name}: what was done under it is done again"
    for code, means in old["codes"].items():
        if new["codes"].get(code) != means:
            yield f"the code {code} is another: it stands in stored answers"
    for kind, values in old["values"].items():
        for value in sorted(set(new["values"].get(kind, ())) - set(values)):
            yield f"{kind} has the new value {value}: the old release does not know it"
        for value in sorted(set(values) - set(new["values"].get(kind, ()))):
            yield f"{kind} has lost {value}: the new release does not know the old one's rows"
    for point in sorted(set(old["failpoints"]) - set(new["failpoints"])):
        yield f"the failpoint {point} is gone: programs outside arm it"


def _broken_tables(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name, was in old["tables"].items():
        now = new["tables"].get(name)
        if now is None:
            yield f"the table {name} is gone: the old release uses it"
            continue
        for column, promise in was.items():
            if column not in now:
                yield f"{name}.{column} is gone: the old release writes it"
            elif now[column] != promise:
                yield f"{name}.{column} is another column: the old release does not know it so"
        for column in sorted(now.keys() - was.keys()):
            if not now[column]["nullable"]:
                yield f"{name}.{column} is new and must be filled: the old release does not fill it"
