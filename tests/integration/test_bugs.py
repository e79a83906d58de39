"""Bugs put into the shop are found, each for what it breaks; and their shelf is in order."""

import pytest

from tests.bugs import broken_shop
from tests.bugs.bug import shelf
from tests.bugs.patching import find

SHELF = shelf()


@pytest.mark.parametrize("name", SHELF)
def test_a_bug_still_fits_the_product(name: str) -> None:
    """What it replaces is there."""
    assert SHELF[name].patches
    for where in SHELF[name].patches:
        find(where)


def test_a_learner_puts_a_bug_right() -> None:
    """The product's own function in its place: what found the bug holds; the bug itself, not."""
    number = broken_shop.NUMBERED.index("key-looked-at-later") + 1
    (place,) = broken_shop.places_of(number)
    assert place == "goods.deduct_stock"
    buggy = broken_shop.code_of(number, place)
    assert "if operation.earlier" in buggy
    right = """
def deduct_stock(tx, command):
    operation = claim(tx, "deduct_stock", command)
    if operation.earlier:
        return operation.earlier
    if not tx.change(_take(command.goods_id, command.goods_number)):
        return operation.refuse(Code.STOCK_SHORT, "no more are left")
    _log(tx, command.goods_id, command.order_id, DEDUCT, command.goods_number)
    return operation.apply(amount=command.goods_number)
"""
    assert "stock is conserved" in broken_shop.cured(number, {place: buggy}).words
    assert not broken_shop.cured(number, {place: right}).words
