"""Scenarios of an order that is refused, for each rule of the shop."""

from labkit.lab.client import OrderFields
from labkit.matrix.context import ScenarioContext
from labkit.matrix.customer import Placed, Unexpected
from labkit.matrix.labs import BALANCE, STOCK
from labkit.matrix.scenario import IS_ABSENT, IS_PLACED, Script, scenario
from labkit.shop.codes import Code

_MISSING = 999_999_999
#: Refusal → the request that it answers.
_RULES: dict[Code, OrderFields] = {
    Code.GOODS_MISSING: {"goods_id": _MISSING},
    Code.GOODS_NUMBER_WRONG: {"goods_number": 0},
    Code.GOODS_PRICE_WRONG: {"goods_price": 1},
    Code.STOCK_SHORT: {"goods_number": STOCK + 1},
    Code.SHIPPING_FEE_WRONG: {"shipping_fee": 1},
    Code.ORDER_AMOUNT_WRONG: {"order_amount": 1},
    Code.USER_MISSING: {"user_id": _MISSING},
    Code.MONEY_NEGATIVE: {"money_paid": -1},
    Code.MONEY_MORE_THAN_BALANCE: {"money_paid": BALANCE + 1},
    Code.MONEY_MORE_THAN_AMOUNT: {"money_paid": 6_000_00},
    Code.COUPON_MISSING: {"coupon_id": _MISSING},
    Code.COUPON_INVALID: {"coupon_id": 2},  # the second user's
}


def _register_refusal(code: Code, wanted: OrderFields) -> None:
    @scenario(_name(code), f"an order is refused, {code.name}, and nothing is taken for it")
    def refused(context: ScenarioContext) -> Script:
        yield
        return {_check_refused(context.customer.place(**wanted), code): IS_ABSENT}


@scenario(
    f"refused-{Code.COUPON_ALREADY_USED.name.lower().replace('_', '-')}",
    "an order is refused, COUPON_ALREADY_USED, and the first one keeps the coupon",
)
def coupon_used(context: ScenarioContext) -> Script:
    """Use one coupon for two orders."""
    first = context.customer.order(coupon=True)
    yield
    second = context.customer.place(coupon_id=first.body["coupon_id"])
    return {first: IS_PLACED, _check_refused(second, Code.COUPON_ALREADY_USED): IS_ABSENT}


def _check_refused(order: Placed, code: Code) -> Placed:
    if (order.status, order.name) != (422, code.name):
        raise Unexpected(f"answered {order.status} {order.name}, not 422 {code.name}")
    return order


def _name(code: Code) -> str:
    return f"refused-{code.name.lower().replace('_', '-')}"


for _code, _wanted in _RULES.items():
    _register_refusal(_code, _wanted)
