"""The order that is measured: it takes stock, a coupon of its own and balance.

Little is imported here: the load generator begins in a moment.
"""

from typing import Any

USERS = 64
GOODS_ID = 1
PRICE = 5000_00  # of the first goods of data/goods.csv
MONEY_PAID = 1_00


def sample(number: int) -> dict[str, Any]:
    """Return the request of one order.

    Args:
        number: of the order, from 1; its coupon has the same, and belongs to its user.
    """
    return {
        "user_id": (number - 1) % USERS + 1,
        "goods_id": GOODS_ID,
        "goods_number": 1,
        "goods_price": PRICE,
        "shipping_fee": 0,
        "order_amount": PRICE,
        "money_paid": MONEY_PAID,
        "coupon_id": number,
        "address": "北京",
        "consignee": "刘备",
    }
