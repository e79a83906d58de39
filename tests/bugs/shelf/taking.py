"""Bugs of taking stock, coupons and balance, and of giving them back."""

from typing import Any

from sqlalchemy import select, update

from labkit.runtime.operations import claim
from labkit.runtime.steps import Event, Transaction
from labkit.shop import coupons, goods
from labkit.shop.messages import DeductStock
from labkit.shop.tables import DEDUCT, RETURN
from tests.bugs.bug import bug

key_looked_at_later = bug(
    "key-looked-at-later",
    "The step claims its key, so it is idempotent; what the claim says can be looked at later.",
    "accepted:goods.deduct_stock.after_commit",
    breaks="stock is conserved", mirrors=6,
)  # fmt: skip


@key_looked_at_later.replaces("labkit.shop.goods:deduct_stock")
def _(tx: Transaction, command: DeductStock) -> Any:
    operation = claim(tx, "deduct_stock", command)
    tx.change(goods._take(command.goods_id, command.goods_number))
    if operation.earlier:
        return operation.earlier
    goods._log(tx, command.goods_id, command.order_id, DEDUCT, command.goods_number)
    return operation.apply(amount=command.goods_number)


compensation_without_claim = bug(
    "compensation-without-claim",
    "The log says what was taken for the order, so that is what goes back.",
    "cancelled:goods.return_stock.before_commit",
    breaks="stock log matches operations", mirrors=4,
)  # fmt: skip


@compensation_without_claim.replaces("labkit.shop.goods:return_stock")
def _(tx: Transaction, event: Event) -> None:
    log = goods.number_log
    taken = select(log).where(log.c.order_id == event.order_id, log.c.direction == DEDUCT)
    for row in tx.execute(taken).all():
        tx.change(goods._give_back(row.goods_id, row.goods_number))
        goods._log(tx, row.goods_id, event.order_id, RETURN, row.goods_number)


coupon_loses_its_owner = bug(
    "coupon-loses-its-owner",
    "A coupon that goes back is as it was when it was made.",
    "cancelled:coupon.return_coupon.before_commit",
    breaks="coupons match operations", mirrors=3,
)  # fmt: skip


@coupon_loses_its_owner.replaces("labkit.shop.coupons:_give_back")
def _(order_id: int) -> Any:
    unused = {"is_used": 0, "order_id": None, "used_time": None, "user_id": 0}
    return update(coupons.coupon).where(coupons.coupon.c.order_id == order_id).values(unused)
