"""Readers of the files in a home, which name a file that somebody else has broken."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def read_object(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file of the home; None where there is no file.

    Raises:
        ValueError: somebody else wrote to it; says which file, and what to do.
    """
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise broken(path) from error
    if not isinstance(value, dict):
        raise broken(path)
    return value


@contextmanager
def making_sense_of(path: Path) -> Iterator[None]:
    """Turn the errors of a block that parses a file of the home into one that names the file.

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
