"""Putting a database's file or the registry's folder out of reach, and back, without a copy.

A symbolic link to nowhere takes its place: opening it fails, even for root, and nobody can make a
new file there by opening it. A tool that is killed meanwhile leaves it so; the next start of the
lab puts it back.
"""

import os
from pathlib import Path

from labkit.home import DATABASES, Home

_AWAY = ".away"


def put_away(path: Path) -> None:
    """Put a file or a folder out of reach; a process that has it open keeps it.

    Raises:
        ValueError: it is out of reach already.
    """
    if path.is_symlink():
        raise ValueError(f"{path} is out of reach already")
    aside, link = _aside(path), path.with_name(f"{path.name}.link")
    link.unlink(missing_ok=True)
    link.symlink_to(aside / "nowhere" / path.name)
    if path.is_dir():  # no name can be changed to that of a folder in one step
        path.rename(aside)
    else:
        os.link(path, aside)
    link.replace(path)


def bring_back(path: Path) -> None:
    """Put it back, if it is out of reach."""
    aside = _aside(path)
    if not aside.exists():
        return
    if aside.is_dir():
        path.unlink(missing_ok=True)
        aside.rename(path)
    elif path.is_symlink() or not path.exists():
        aside.replace(path)
    else:  # the tool was killed between two steps: the file has two names
        aside.unlink()


def bring_all_back(home: Home) -> None:
    """Put back all that a fault of an earlier run left out of reach."""
    for path in (home.registry, *(home.databases / f"{name}.sqlite" for name in DATABASES)):
        bring_back(path)


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}{_AWAY}")
