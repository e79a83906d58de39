"""The notebook's lab: it is started, ordered from, read and broken."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.lab.lab import Lab

__all__ = ["Lab"]


def __getattr__(name: str) -> object:
    """Load `Lab` when it is asked for: the command line reads data without waiting for pandas."""
    if name != "Lab":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from labkit.lab.lab import Lab

    return Lab
