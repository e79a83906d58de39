"""The rules of placing an order: each refusal with its own code, and nothing changed by it."""

from typing import Any

import pytest

from labkit.lab import Lab
from labkit.shop.codes import Code
from tests.support.history import History
from tests.support.row_diff import KEPT, changes

# what is asked for, code; the goods cost 5000.00, the balance is 9000.00
REFUSED: list[tuple[dict[str, Any], int]] = [
    ({"shipping_fee": 10_00}, 10002),
    ({"shipping_fee": 10_00, "order_amount": 5_010_00}, 10002),
    ({"shipping_fee": -1, "order_amount": 4_999_99}, 10002),
    ({"order_amount": 4_999_99}, 10003),
    ({"order_amount": 0}, 10003),
    ({"goods_id": 77}, 20001),
    ({"goods_price": 1, "order_amount": 10_01, "shipping_fee": 10_00}, 20002),
    ({"goods_price": -5_000_00}, 20002),
    ({"goods_number": 999}, 20003),  # one was sold
    ({"goods_number": 10**12}, 20003),
    ({"goods_number": 0}, 20005),
    ({"goods_number": -1}, 20005),
    ({"user_id": 77}, 30002),
    ({"coupon_id": 77}, 40001),
    ({"coupon_id": 2}, 40002),  # of user 2
    ({"coupon_id": 3}, 40004),  # used
    ({"money_paid": -1}, 50001),
    ({"money_paid": 9_000_01}, 50002),
    ({"money_paid": 5_000_01}, 50003),
    ({"money_paid": 4_980_01, "coupon_id": 1}, 50003),
]


@pytest.fixture(scope="module")
def two_users(running_lab: Lab) -> History:
    """Users 1 and 2, coupons 1 and 3 of the first and 2 of the second; coupon 3 is used."""
    running_lab.reset(users=2, coupons=3, balance=9_000_00)
    history = History(running_lab.home.folder)
    assert history.place(coupon_id=3).placed
    return history


@pytest.mark.parametrize(("wanted", "code"), REFUSED)
def test_a_refusal_has_its_code_and_changes_nothing(
    two_users: History, wanted: dict[str, Any], code: int
) -> None:
    """Each business rule refuses with 422 and its own code, and no table changes by a row."""
    before = two_users.tables.everything()
    answered = two_users.place(**wanted)
    assert (answered.status, answered.code) == (422, code), answered
    assert changes(before, two_users.tables.everything()).keys() <= {KEPT}
    two_users.check()


FAILING = {
    "order.save_pre_order": 10004,
    "order.confirm_pre_order": 10005,
    "goods.deduct_stock": 20004,
    "user.deduct_balance": 30003,
    "coupon.use_coupon": 40003,
}


def test_a_step_that_fails_has_its_code_and_everything_is_given_back(
    lab: Lab, history: History
) -> None:
    """A step that cannot commit refuses with the code of that step; all is back when settled."""
    for step, code in FAILING.items():
        with lab.faults.armed(f"{step}.before_commit", "refuse"):
            answered = history.place(coupon=True, money_paid=1_00)
            assert (answered.status, answered.code) == (422, code), answered
        lab.settle()
        stock = history.tables.rows("goods", "SELECT * FROM trade_goods")
        users = history.tables.rows("user", "SELECT * FROM trade_user")
        coupons = history.tables.rows("coupon", "SELECT * FROM trade_coupon")
        assert [stock, users, coupons] == [
            [*history.goods.values()],
            [*history.users.values()],
            [*history.coupons.values()],
        ]


def test_every_refusal_has_a_number_and_a_name_of_its_own() -> None:
    """No two codes of the catalogue share a number, and each lies in its family."""
    numbers = [code for _, code in REFUSED] + list(FAILING.values())
    names = {Code(number).name for number in numbers}
    assert len(names) == len(set(numbers)) == len({*numbers} & {*map(int, Code)})
