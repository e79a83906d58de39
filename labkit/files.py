"""The files of a home that programs read: whole, or broken by somebody else and told so."""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: What every state holds, and of what type: readers rely on it.
_STATE: dict[str, Any] = {
    "stack": str | None,
    "phase": str,
    "supervisor": int | None,
    "generation": int,
    "topic_prefix": str,
    "endpoints": dict,
    "databases": dict,
    "services": list,
}
_SERVICE = {"name", "instance", "pid", "endpoint", "state"}


def is_state(found: dict[str, Any], endpoints: Collection[str], databases: Collection[str]) -> bool:
    """Return True if a state has all that its readers rely on.

    Args:
        found: what a file says.
        endpoints: that it must name.
        databases: that it must name.
    """
    return (
        found.keys() >= _STATE.keys()
        and all(isinstance(found[name], kind) for name, kind in _STATE.items())
        and found["endpoints"].keys() >= set(endpoints)
        and found["databases"].keys() >= set(databases)
        and all(isinstance(one, dict) and one.keys() >= _SERVICE for one in found["services"])
    )


def read_object(path: Path) -> dict[str, Any] | None:
    """Return what a file of the home says; None where it is not there.

    Raises:
        ValueError: somebody else wrote to it; says which file, and what to do.
    """
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        found = error
    if not isinstance(found, dict):
        raise broken(path)
    return found


@contextmanager
def making_sense_of(path: Path) -> Iterator[None]:
    """Read a file of the home in a block, which raises whatever comes of what is not right in it.

    Raises:
        ValueError: somebody else wrote to it; says which file, and what to do.
    """
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise broken(path) from error


def broken(path: Path) -> ValueError:
    """Return the error that says which file is broken, and what to do."""
    text = "put it back as it was, or name another home with --home"
    return ValueError(f"the file {path} is broken: {text}")
