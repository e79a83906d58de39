"""Faults as named verbs: reversible, and each proves that it was reached."""

from labkit.faults.verbs import Faults, NotReached

__all__ = ["Faults", "NotReached"]
