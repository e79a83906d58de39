"""A shop with a bug, known by its number alone; the bugs lie with the tests of the clone."""

import sys
from pathlib import Path

import labkit

sys.path.append(str(Path(labkit.__file__).parents[1]))

from tests.bugs.broken_shop import (  # the clone must be on the path first
    Finding,
    broken_lab,
    code_of,
    cured,
    numbers,
    places_of,
    symptom,
)

__all__ = ["Finding", "broken_lab", "code_of", "cured", "numbers", "places_of", "symptom"]
