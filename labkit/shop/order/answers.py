"""The answer about an order that is neither there nor ruled out."""

from labkit.results import Result
from labkit.shop.codes import Code
from labkit.shop.messages import OrderPlaced


def undecided(order_id: int) -> Result[OrderPlaced]:
    """Return the answer that the order is not decided yet, and where to ask for it."""
    text = f"order {order_id}: is not decided yet; ask for it with GET /order/{order_id}"
    return Result[OrderPlaced].refused(Code.ORDER_UNDECIDED, text, OrderPlaced(order_id=order_id))
