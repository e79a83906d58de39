"""A story of the twin on a real lab."""

from labkit.lab import Lab
from labkit.matrix.lab_front import LabFront, play


def tell(lab: Lab, story: str) -> None:
    """Have a customer of a real lab do what a story tells, until it ends."""
    assert play(LabFront(lab.client), [story]) == []
