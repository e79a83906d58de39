"""Orders as the unit tests place them: commands, and the states that an order can be in."""

from typing import Any

from labkit.results import Result
from labkit.shop import messages as m
from labkit.shop.codes import Code
from labkit.shop.order import steps
from tests.support.store import COUPON, PRICE, Store

USER, STRANGER = 1, 2


def asked(**changed: Any) -> m.PlaceOrder:
    """A request that keeps all rules: two pieces, a coupon, 50.00 from the balance."""
    wanted: dict[str, Any] = {
        "user_id": USER,
        "goods_id": 1,
        "goods_number": 2,
        "goods_price": PRICE,
        "shipping_fee": 0,
        "order_amount": 2 * PRICE,
        "money_paid": 50_00,
        "coupon_id": 1,
        "address": "成都",
        "consignee": "刘备",
    }
    return m.PlaceOrder(**wanted | changed)


def pre_order(order_id: int, pay_amount: int = 2 * PRICE - 50_00 - COUPON) -> m.PreOrder:
    """The same, checked; the balance pays what the client does not."""
    money_paid = 2 * PRICE - COUPON - pay_amount
    return m.PreOrder(
        order_id=order_id,
        request=asked(money_paid=money_paid),
        goods_amount=2 * PRICE,
        coupon_paid=COUPON,
        pay_amount=pay_amount,
    )


def opened(store: Store, key: str = "key", user_id: int = USER, digest: str = "hash") -> Any:
    """The answer to a user's idempotency key."""
    command = m.OpenOrder(user_id=user_id, idempotency_key=key, request_hash=digest)
    return store.run(steps.open_order, command)


def unconfirmed(store: Store, key: str = "key", **amounts: int) -> int:
    """The id of a new order that is saved and not decided."""
    order_id: int = opened(store, key).data.order_id
    assert store.run(steps.save_pre_order, pre_order(order_id, **amounts)).success
    return order_id


def confirmed(store: Store, key: str = "key", **amounts: int) -> int:
    """The id of a new order that is confirmed; unpaid where an amount is left to pay."""
    order_id = unconfirmed(store, key, **amounts)
    assert confirm(store, order_id).success
    return order_id


def confirm(store: Store, order_id: int) -> Result[m.OrderPlaced]:
    """Confirm an order."""
    row = store.row("trade_order", order_id=order_id)
    command = m.ConfirmPreOrder(
        order_id=order_id, user_id=row["user_id"], pay_amount=row["pay_amount"]
    )
    answer: Result[m.OrderPlaced] = store.run(steps.confirm_pre_order, command)
    return answer


def cancel(store: Store, order_id: int, by: str) -> Result[m.OrderPlaced]:
    """Cancel an order in one of the four ways: failed, expired, unpaid, by_user."""
    command: Any = m.CancelOrder(order_id=order_id, code=Code.STOCK_SHORT, reason="a reason")
    if by == "by_user":
        command = m.UserOrder(order_id=order_id, user_id=USER)
    answer: Result[m.OrderPlaced] = store.run(getattr(steps, f"cancel_{by}"), command)
    return answer


def return_goods(store: Store, order_id: int, user_id: int = USER) -> Result[m.OrderPlaced]:
    """Return a paid order."""
    command = m.UserOrder(order_id=order_id, user_id=user_id)
    answer: Result[m.OrderPlaced] = store.run(steps.return_order, command)
    return answer


def state(store: Store, order_id: int) -> tuple[int, int]:
    """Order status and pay status."""
    row = store.row("trade_order", order_id=order_id)
    return row["order_status"], row["pay_status"]


def answer_of(store: Store, order_id: int) -> Result[Any]:
    """The final answer that is kept for whoever asks again."""
    kept = store.row("trade_order_request", order_id=order_id)["answer"]
    return Result[Any].model_validate_json(kept)
