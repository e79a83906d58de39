"""The solutions of notebook 11 stand where its bugs are, also when a module has moved."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from course.bugs import broken_shop

FILE = Path(__file__).parents[3] / "notebooks" / "solutions" / "11_find_the_bug.py"


@pytest.fixture(scope="module")
def solutions() -> ModuleType:
    """Load the file that holds the solutions."""
    spec = importlib.util.spec_from_file_location("solutions", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("number", [number for number in broken_shop.numbers() if number > 1])
def test_a_solution_is_for_the_place_of_its_bug(number: int, solutions: ModuleType) -> None:
    """Each solution names the places of its bug, so that a renamed module does not break it."""
    fixes = getattr(solutions, f"fix_{number}")()
    assert tuple(fixes) == broken_shop.places_of(number)
