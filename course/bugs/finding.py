"""The outcome of a search for a bug in the twin."""

from dataclasses import dataclass

from labkit.sim.life import Life


@dataclass(frozen=True)
class Search:
    """The search for one bug.

    Attributes:
        bug: its name.
        lives: how many were lived.
        seconds: how long that took, shrinking included.
        life: the smallest one that broke; None if none did.
        error: what ended the search, in words; empty if nothing did.
        is_kept: whether the life was not found but kept from another day.
    """

    bug: str
    lives: int
    seconds: float
    life: Life | None
    error: str = ""
    is_kept: bool = False
