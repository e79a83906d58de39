"""Coupon service (优惠券服务): one order uses a coupon, and only its end restores it."""

from datetime import datetime

from sqlalchemy import Executable, select, update

from labkit.results import Result
from labkit.runtime import Event, Row, Transaction, claim, lookup, statement, step, undo
from labkit.shop.codes import Code
from labkit.shop.messages import CouponFound, FindCoupon, UseCoupon
from labkit.shop.states import LogDirection
from labkit.shop.tables import coupon, coupon_log


@statement
def _use(coupon_id: int, user_id: int, price: int, order_id: int, now: datetime) -> Executable:
    unused = (
        (coupon.c.coupon_id == coupon_id)
        & (coupon.c.user_id == user_id)
        & (coupon.c.coupon_price == price)
        & (coupon.c.is_used == 0)
    )
    return update(coupon).where(unused).values(is_used=1, order_id=order_id, used_time=now)


@statement
def _restore(order_id: int) -> Executable:
    unused = {"is_used": 0, "order_id": None, "used_time": None}
    return update(coupon).where(coupon.c.order_id == order_id).values(unused)


@statement
def _used(order_id: int) -> Executable:
    used = (coupon_log.c.order_id == order_id) & (coupon_log.c.direction == LogDirection.USE)
    columns = (coupon_log.c.coupon_id, coupon_log.c.user_id, coupon_log.c.coupon_price)
    return select(*columns).where(used)


@lookup(coupon.c.coupon_id)
def find_coupon(row: Row, query: FindCoupon) -> Result[CouponFound]:
    """Look a coupon up; another order may use it a moment later."""
    if row is None:
        text = f"coupon_id {query.coupon_id}: there is no such coupon"
        return Result[CouponFound].refused(Code.COUPON_MISSING, text)
    return Result[CouponFound].ok(
        CouponFound(
            coupon_id=row.coupon_id,
            coupon_price=row.coupon_price,
            user_id=row.user_id,
            is_used=bool(row.is_used),
        )
    )


@step(failed=Code.COUPON_USE_FAILED)
def use_coupon(tx: Transaction, command: UseCoupon) -> Result[None]:
    """Use a coupon for an order (使用优惠券) by compare-and-swap: unused → used by this order."""
    operation = claim(tx, "use_coupon", command)
    if operation.previous_result:
        return operation.previous_result
    use = _use(command.coupon_id, command.user_id, command.coupon_price, command.order_id, tx.now)
    if not tx.expect_update(use):
        text = f"coupon_id {command.coupon_id} is used already, or is not the user's"
        return operation.refuse(Code.COUPON_ALREADY_USED, f"order {command.order_id}: {text}")
    coupon_id, user_id, price = command.coupon_id, command.user_id, command.coupon_price
    _log(tx, command.order_id, LogDirection.USE, coupon_id, user_id, price)
    return operation.apply(amount=command.coupon_price)


@step()
def return_coupon(tx: Transaction, event: Event) -> None:
    """Restore the coupon that an order used (回退优惠券): its owner may use it again."""
    if undo(tx, "use_coupon", event.order_id) is None:
        return
    used = tx.run(_used(event.order_id)).single()
    tx.expect_update(_restore(event.order_id))
    _log(tx, event.order_id, LogDirection.RETURN, used.coupon_id, used.user_id, used.coupon_price)


def _log(
    tx: Transaction,
    order_id: int,
    direction: LogDirection,
    coupon_id: int,
    user_id: int,
    price: int,
) -> None:
    key = {"coupon_id": coupon_id, "order_id": order_id, "direction": direction}
    tx.insert(coupon_log, **key, user_id=user_id, coupon_price=price, log_time=tx.now)
