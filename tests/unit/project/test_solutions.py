"""The solutions and hints of notebook 11 name places that are there, also when a module moved."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from course.bugs import broken_shop
from tests.support.course import prose

ROOMS = "goods|users|coupons|order|pay|db|messaging|web"
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


def test_every_place_in_the_prose_is_in_the_shop() -> None:
    """Each function that the notebook names with its module can be read with `shops.code_of`."""
    places = re.findall(rf"`((?:{ROOMS})(?:\.\w+)+)`", "\n".join(prose("11_find_the_bug.ipynb")))
    assert len(places) >= 8
    for place in places:
        assert "def " in broken_shop.code_of(1, place), place
