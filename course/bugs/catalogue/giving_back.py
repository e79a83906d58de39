"""Bugs of giving back what was taken for an order that came to nothing, or came back."""

from typing import Any

from sqlalchemy import select, update

from course.bugs.bug import bug
from course.bugs.sessions import commit
from labkit.results import Result
from labkit.runtime.db.operations import APPLIED, _find, _undo, claim, undo
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.steps import Event
from labkit.shop import coupons, goods, users
from labkit.shop.codes import Code
from labkit.shop.messages import CancelOrder, OrderCancelled, OrderPlaced, OrderRefunded
from labkit.shop.order import statements as rows
from labkit.shop.order import steps
from labkit.shop.states import AccountLogType, LogDirection

compensation_without_claim = bug(
    "compensation-without-claim",
    "The log says what was taken for the order, so that is what goes back.",
    "cancelled:goods.return_stock.before_commit",
    breaks="stock log matches operations",
    mirrors=4,
)


@compensation_without_claim.replaces("labkit.shop.goods:return_stock")
def _(tx: Transaction, event: Event) -> None:
    log = goods.number_log
    taken = select(log).where(
        log.c.order_id == event.order_id, log.c.direction == LogDirection.DEDUCT
    )
    for row in tx.execute(taken).all():
        tx.expect_update(goods._return(row.goods_id, row.goods_number))
        goods._log(tx, row.goods_id, event.order_id, LogDirection.RETURN, row.goods_number)


empty_compensation = bug(
    "empty-compensation-leaves-nothing",
    "A compensation that finds nothing to undo has nothing to do.",
    "accepted:goods.deduct_stock.before_commit",
    breaks="cancelled orders hold nothing",
    mirrors=6,
    action="delay:4",
)


@empty_compensation.replaces("labkit.runtime.db.operations:undo")
def _(tx: Transaction, name: str, order_id: int) -> int | None:
    operation = tx.first(_find(order_id, name))
    if operation is None or operation.outcome != APPLIED:
        return None
    tx.run(_undo(order_id, name))
    return int(operation.amount)


trusts_the_message = bug(
    "compensation-trusts-the-message",
    "The message says what the order had asked for, so nobody has to look it up.",
    "accepted:goods.deduct_stock.before_commit",
    breaks="stock log matches operations",
    mirrors=3,
    action="refuse",
)


@trusts_the_message.replaces("labkit.shop.messages:OrderCancelled")
class _WithGoods(OrderCancelled):
    goods_id: int = 0
    goods_number: int = 0


@trusts_the_message.replaces("labkit.shop.order.steps:_cancel")
def _(tx: Transaction, name: str, command: CancelOrder, old: int) -> Any:
    operation = claim(tx, name, command, answer=Result[OrderPlaced])
    if operation.previous_result:
        return operation.previous_result
    if not tx.expect_update(rows.cancel(command.order_id, old, command.reason)):
        text = f"order {command.order_id}: cannot be cancelled any more, or is cancelled already"
        return operation.refuse(Code.ORDER_STATUS_UPDATE_FAILED, text)
    answer = steps.cancelled_answer(command).model_dump_json()
    tx.expect_update(rows.keep_first_answer(command.order_id, answer))
    row = tx.first(rows.find(command.order_id))
    what = {"goods_id": row.goods_id, "goods_number": row.goods_number}
    tx.emit(OrderCancelled(order_id=command.order_id, **what))
    return operation.apply(data=OrderPlaced(order_id=command.order_id))


@trusts_the_message.replaces("labkit.shop.goods:return_stock")
def _(tx: Transaction, event: Any) -> None:
    undo(tx, "deduct_stock", event.order_id)
    tx.expect_update(goods._return(event.goods_id, event.goods_number))
    goods._log(tx, event.goods_id, event.order_id, LogDirection.RETURN, event.goods_number)


coupon_loses_its_owner = bug(
    "coupon-loses-its-owner",
    "A coupon that goes back is as it was when it was made.",
    "cancelled:coupon.return_coupon.before_commit",
    breaks="coupons keep their owners",
    mirrors=3,
)


@coupon_loses_its_owner.replaces("labkit.shop.coupons:_restore")
def _(order_id: int) -> Any:
    unused = {"is_used": 0, "order_id": None, "used_time": None, "user_id": 0}
    return update(coupons.coupon).where(coupons.coupon.c.order_id == order_id).values(unused)


points_of_the_message = bug(
    "points-back-by-the-message",
    "So much money goes back, so many points go back.",
    "returned:user.take_points_back.before_commit",
    breaks="points match operations",
    mirrors=3,
)


@points_of_the_message.replaces("labkit.shop.users:take_points_back")
def _(tx: Transaction, event: OrderRefunded) -> None:
    points = event.amount // 100
    tx.expect_update(users._add_points(event.user_id, -points))
    users._log_points(tx, event.user_id, event.order_id, AccountLogType.REFUNDED, points)


message_in_a_commit_of_its_own = bug(
    "message-in-a-commit-of-its-own",
    "First the order is cancelled, and when that is saved the others are told.",
    "cancelled:order.cancel_by_user.before_commit",
    breaks="an end is told once",
    mirrors=1,
)


@message_in_a_commit_of_its_own.replaces("labkit.shop.order.steps:_cancel")
def _(tx: Transaction, name: str, command: CancelOrder, old: int) -> Any:
    operation = claim(tx, name, command, answer=Result[OrderPlaced])
    if operation.previous_result:
        return operation.previous_result
    if not tx.expect_update(rows.cancel(command.order_id, old, command.reason)):
        text = f"order {command.order_id}: cannot be cancelled any more, or is cancelled already"
        return operation.refuse(Code.ORDER_STATUS_UPDATE_FAILED, text)
    answer = steps.cancelled_answer(command).model_dump_json()
    tx.expect_update(rows.keep_first_answer(command.order_id, answer))
    done = operation.apply(data=OrderPlaced(order_id=command.order_id))
    commit(tx)
    tx.emit(OrderCancelled(order_id=command.order_id))
    return done
