"""Bugs put into the shop are found, each for what it breaks; and their shelf is in order."""

import ast
import inspect
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from course.bugs import broken_shop
from course.bugs import catalogue as shelves
from course.bugs.bug import Bug, shelf
from course.bugs.patching import find
from course.bugs.running import look_for, read
from course.bugs.stories import STORIES
from labkit.matrix.scenario import SCENARIOS
from labkit.runtime.db.statements import Statement
from labkit.runtime.steps import Flow, Step

ROOT = Path(__file__).parents[2]
SHELF = shelf()
#: Others are drawn each time; a number given here draws the same again.
SEED = int(os.environ.get("BUGS_SEED") or random.randrange(10_000))
#: So many fit into a minute, with those that a learner puts right.
DRAWN = random.Random(SEED).sample([name for name, bug in SHELF.items() if not bug.waits], 2)
ENOUGH = 30

TAKES_STOCK = """
def deduct_stock(tx, command):
    operation = claim(tx, "deduct_stock", command)
    if operation.previous_result:
        return operation.previous_result
    if not tx.expect_update(_deduct(command.goods_id, command.goods_number)):
        return operation.refuse(Code.STOCK_SHORT, "no more are left")
    _log(tx, command.goods_id, command.order_id, LogDirection.DEDUCT, command.goods_number)
    return operation.apply(amount=command.goods_number)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("drawn", range(2))  # by name, each process of a run would have others
def test_a_bug_is_found(drawn: int) -> None:
    """The bug breaks what must find it, in the words that it is known by; its code was run."""
    print(f"drawn with BUGS_SEED={SEED}: {DRAWN[drawn]}")
    finding = look_for(SHELF[DRAWN[drawn]])
    assert finding.is_found, (
        f"{finding.bug}: {finding.by}: {finding.words or 'all held'} (BUGS_SEED={SEED})"
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_learner_puts_a_bug_right() -> None:
    """With the right function in the bug's place nothing breaks any more; with its own, it does."""
    number = broken_shop.NUMBERED.index("key-looked-at-later") + 1
    (place,) = broken_shop.places_of(number)
    wrong = broken_shop.code_of(number, place)
    assert "stock is conserved" in broken_shop.cured(number, {place: wrong}).words
    assert not broken_shop.cured(number, {place: TAKES_STOCK}).words


def test_a_fix_that_is_none_is_told_at_once() -> None:
    """Code that defines something else, or a place that is not there, starts no lab."""
    with pytest.raises(ValueError, match="defines no deduct_stock"):
        broken_shop.cured(1, {"goods.deduct_stock": "def other(): ..."})
    with pytest.raises(LookupError, match="nothing of that name"):
        broken_shop.cured(1, {"goods.sell": "def sell(): ..."})
    with pytest.raises(LookupError, match="no bug 0"):
        broken_shop.symptom(0)


@pytest.mark.parametrize("number", broken_shop.numbers())
def test_a_learner_can_read_the_code_as_it_runs(number: int) -> None:
    """Each place shows a function of its own name, and does not tell the name of the bug."""
    name = broken_shop.NUMBERED[number - 1]
    for place in broken_shop.places_of(number):
        code = broken_shop.code_of(number, place)
        assert re.match(rf"(async )?def {place.rpartition('.')[2]}\(", code)
        assert name not in code
        assert name.replace("-", "_") not in code


@pytest.mark.parametrize("bug", SHELF.values(), ids=SHELF)
def test_a_bug_still_fits_the_product(bug: Bug) -> None:
    """The replaced function exists and takes as much; what must find it can be played."""
    assert bug.patches
    assert bug.found_by
    assert bug.breaks
    for where, new in bug.patches.items():
        if "@" in where:  # of another release, which it must fit when it is played
            continue
        old = _function(find(where)[2])
        assert isinstance(new, type) or len(_parameters(new)) == len(_parameters(old)), where
    for by in bug.found_by:
        assert by in STORIES or by in SCENARIOS or read(by, bug.action)


@pytest.mark.parametrize(
    "path", sorted(Path(shelves.__path__[0]).glob("*.py")), ids=lambda p: p.stem
)
def test_what_a_bug_uses_of_the_product_is_there(path: Path) -> None:
    """Every `goods._deduct` in its code: else it would break for another reason than its own."""
    module = vars(__import__(f"course.bugs.catalogue.{path.stem}", fromlist=["_"]))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            holder = module.get(node.value.id)
            if isinstance(holder, ModuleType):
                assert hasattr(holder, node.attr), f"{node.value.id}.{node.attr}"


def test_the_shelf_is_whole() -> None:
    """There are enough of them, in a sentence each; the flaws of the original are all mirrored."""
    assert len(SHELF) >= ENOUGH
    assert all(bug.thought.endswith(".") for bug in SHELF.values())
    assert len({bug.thought for bug in SHELF.values()}) == len(SHELF)
    assert {bug.mirrors for bug in SHELF.values()} - {None} == set(range(1, 12))
    assert len(set(broken_shop.NUMBERED)) == len(broken_shop.NUMBERED)


def test_the_page_shows_each_bug_found() -> None:
    """Its table has every bug, with what was thought, and says of none that it was not found."""
    page = (ROOT / "docs" / "bugs.md").read_text(encoding="utf-8")
    assert "NOT FOUND" not in page
    for name, bug in SHELF.items():
        assert f"| `{name}` | {bug.thought} | {bug.mirrors or '–'} | `" in page, name


def _function(place: Any) -> Callable[..., Any]:
    if isinstance(place, Step | Flow):
        return place.function
    return place._build if isinstance(place, Statement) else place  # type: ignore[no-any-return]


def _parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)
