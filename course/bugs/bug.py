"""A bug: what somebody thought, the functions that he wrote so, and what must find it."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from labkit.matrix.cells import CRASH

#: Every bug by its name, in the order of the shelf.
BUGS: dict[str, "Bug"] = {}

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Bug:
    """One bug.

    Attributes:
        name: what `python -m course.bugs` calls it.
        thought: what the programmer thought, in a sentence.
        found_by: cells of the crash matrix, as `labkit matrix --cell` takes them, or stories of
            `course.bugs.stories`: any of them must find it.
        breaks: words that what finds it must say: it is found for this and for nothing else.
        mirrors: the number of the flaw of the public Java shop that it is like, if any.
        action: what the failpoints of the cells are armed with.
        waits: whether what it breaks is that something never comes, which takes long to see.
        patches: `module:name` → what stands there instead; `module:name@1.1` in one release only.
    """

    name: str
    thought: str
    found_by: tuple[str, ...]
    breaks: str
    mirrors: int | None = None
    action: str = CRASH
    waits: bool = False
    patches: dict[str, Any] = field(default_factory=dict)

    @property
    def asks_again(self) -> bool:
        """Return True if cells that kill find it: what was killed must be back in time for that."""
        return self.action == CRASH and all(":" in by for by in self.found_by)

    def replaces(self, where: str) -> Callable[[F], F]:
        """Mark what stands in a place instead: a function, or a message with its fields.

        Args:
            where: `module:name` or `module:Class.method`, of the product, or of one release of it:
                `module:name@1.1`.
        """

        def enter(new: F) -> F:
            self.patches[where] = new
            return new

        return enter


def bug(
    name: str,
    thought: str,
    *found_by: str,
    breaks: str,
    mirrors: int | None = None,
    action: str = CRASH,
    waits: bool = False,
) -> Bug:
    """Put a bug on the shelf; its patches follow."""
    assert name not in BUGS, name
    BUGS[name] = Bug(name, thought, found_by, breaks, mirrors, action, waits)
    return BUGS[name]


def shelf() -> dict[str, Bug]:
    """Return every bug, by name."""
    package = importlib.import_module("course.bugs.catalogue")
    for module in pkgutil.iter_modules(package.__path__, "course.bugs.catalogue."):
        importlib.import_module(module.name)
    return BUGS
