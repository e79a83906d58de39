"""Putting a bug in, inside the processes that have it: all services are forked from one."""

import functools
import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from course.bugs.bug import Bug, shelf
from labkit.lab.bug_injection import inject_bug
from labkit.runtime.db.statements import Statement
from labkit.runtime.steps import Flow, Step

_ROOT = Path(__file__).parents[2]
_FIRST = """import sys
sys.path.append({root!r})  # a release that is not ours is found before
from course.bugs.patching import put_in
put_in({folder!r})
"""
_WANTED = "wanted.json"


@contextmanager
def bugs_in(folder: Path, *bugs: Bug, fixes: Mapping[str, str] | None = None) -> Iterator["Proof"]:
    """Run every lab that is started in a block with bugs.

    Args:
        folder: is made, for what the services need to know.
        bugs: which.
        fixes: `module:name` → code that stands there after all, written by a learner.

    Returns:
        What proves that the bugs were reached.
    """
    folder.mkdir(parents=True)
    wanted = {"bugs": [bug.name for bug in bugs], "fixes": dict(fixes or {})}
    (folder / _WANTED).write_text(json.dumps(wanted))
    first = _FIRST.format(root=str(_ROOT), folder=str(folder))
    with inject_bug(first):
        yield Proof(folder)


class Proof:
    """The record of which bugs were run, as the services note it.

    Args:
        folder: where they note it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def reached(self) -> set[str]:
        """Return the places at which something else stood and was run, as `module:name`."""
        return {file.name.removeprefix("ran ") for file in self._folder.glob("ran *")}


def put_in(folder: str) -> None:
    """Put in what is wanted; called in a process of the lab before anything else."""
    wanted = json.loads((Path(folder) / _WANTED).read_text())
    bugs = shelf()
    places = {where: new for name in wanted["bugs"] for where, new in bugs[name].patches.items()}
    places |= {where: read_fix(where, code) for where, code in wanted["fixes"].items()}
    importlib.import_module("labkit.shop.wiring")  # contracts keep the types of the true functions
    for where, new in places.items():
        if _is_for(where):
            replace(where.partition("@")[0], _noted(new, Path(folder) / f"ran {where}"))


def _is_for(where: str) -> bool:
    """Return True if a patch is for the release that runs here."""
    release = where.partition("@")[2]
    return release in ("", importlib.import_module("labkit.shop").RELEASE)


def find(where: str) -> tuple[Any, str, Any]:
    """Return what stands in a place of the product.

    Args:
        where: `module:name` or `module:Class.method`.

    Returns:
        Who holds it, under which name, and it.

    Raises:
        ImportError: there is no such module.
        AttributeError: there is nothing of that name.
    """
    module, _, path = where.partition(":")
    holder: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for frame in outer:
        holder = getattr(holder, frame)
    return holder, name, getattr(holder, name)


def replace(where: str, new: Any) -> None:
    """Replace what stands in a place, for all who have it by now and will have it."""
    holder, name, old = find(where)
    if isinstance(old, Step | Flow):
        object.__setattr__(old, "function", new)
    elif isinstance(old, type) and issubclass(old, BaseModel):
        old.__pydantic_fields__.update(new.model_fields)
        old.model_rebuild(force=True)
    elif isinstance(holder, type):
        setattr(holder, name, new)
    else:
        _rebind(old, Statement(new) if isinstance(old, Statement) else new)


def read_fix(where: str, code: str) -> Any:
    """Make the function that a learner wrote for a place; it sees what its module sees, and `Any`.

    Raises:
        ValueError: there is no such function in it.
        SyntaxError: it is no Python.
    """
    holder, name, _old = find(where)
    module = sys.modules[where.partition(":")[0]]
    namespace = {"Any": Any, **vars(module), "__name__": module.__name__}  # a bug's code has it
    exec(compile(code, f"your {name}", "exec"), namespace)
    new = namespace.get(name)
    if new is getattr(holder, name) or new is None:
        raise ValueError(f"it defines no {name}")
    if isinstance(new, Step | Flow):
        return new.function
    return new._build if isinstance(new, Statement) else new


def _rebind(old: Any, new: Any) -> None:
    """Rebind every name in the product that stands for something."""
    for module in [
        candidate for name, candidate in sys.modules.items() if name.startswith("labkit")
    ]:
        for name in [name for name, value in vars(module).items() if value is old]:
            setattr(module, name, new)
    for service in importlib.import_module("labkit.shop.wiring").SERVICES.values():
        for upcasts in service.upcasts.values():
            upcasts.update({version: new for version, each in upcasts.items() if each is old})


def _noted(new: Any, proof: Path) -> Any:
    """Wrap it so that it leaves a proof when it runs first."""
    if isinstance(new, type):
        return new
    is_on = False

    @functools.wraps(new)
    def noted(*args: Any, **kwargs: Any) -> Any:
        nonlocal is_on
        if not is_on:
            is_on = True
            proof.touch()
        return new(*args, **kwargs)

    return noted
