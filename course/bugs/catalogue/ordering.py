"""Bugs of an order's own life: what it may ask for, who decides it, and by which key."""

import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from fastapi import Request
from sqlalchemy import update

from course.bugs.bug import bug
from labkit.results import Result
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.registry.ids import first_of
from labkit.shop.codes import Code
from labkit.shop.messages import (
    CancelOrder,
    ConfirmOrder,
    CouponFound,
    DeductStock,
    GoodsFound,
    Opening,
    OpenOrder,
    OrderCancelled,
    OrderPlaced,
    PreOrder,
    UserFound,
)
from labkit.shop.order import pricing, steps
from labkit.shop.order import statements as rows
from labkit.shop.order.context import OrderShop
from labkit.shop.order.statements import order
from labkit.shop.states import OrderStatus, PayStatus

no_sweeper = bug(
    "no-sweeper",
    "Whoever places an order also ends it: in the same function, whatever fails.",
    "abandoned:order.save_pre_order.after_commit",
    breaks="order not decided",
    mirrors=1,
    waits=True,
)


@no_sweeper.replaces("labkit.shop.order.flows:sweep_unconfirmed")
async def _(_shop: OrderShop, _command: None) -> None:
    """There is none."""


unpaid_for_ever = bug(
    "no-time-to-pay",
    "Whoever does not want to pay cancels.",
    "unpaid:order.cancel_unpaid.after_commit",
    breaks="the unpaid order is cancelled",
    mirrors=11,
    waits=True,
)


@unpaid_for_ever.replaces("labkit.shop.order.flows:sweep_unpaid")
async def _(_shop: OrderShop, _command: None) -> None:
    """There is none."""


sweeper_decides_alone = bug(
    "sweeper-without-compare-and-swap",
    "The sweeper has just looked: the order is unconfirmed.",
    "two-who-cancel",
    breaks="an end is told once",
    mirrors=8,
)


@sweeper_decides_alone.replaces("labkit.shop.order.steps:cancel_expired")
def _(tx: Transaction, command: CancelOrder) -> Any:
    table, reason = rows.order, command.reason
    ended = {"order_status": OrderStatus.CANCELLED, "cancel_reason": reason}
    tx.execute(update(table).where(table.c.order_id == command.order_id).values(ended))
    answer = steps.cancelled_answer(command).model_dump_json()
    tx.run(rows.keep_first_answer(command.order_id, answer))
    tx.emit(OrderCancelled(order_id=command.order_id))
    return Result[OrderPlaced].ok(OrderPlaced(order_id=command.order_id))


cancel_overwrites_paid = bug(
    "cancel-overwrites-paid",
    "Who wants to cancel an order may.",
    "cancelled-when-paid",
    breaks="states are legal",
    mirrors=8,
)


@cancel_overwrites_paid.replaces("labkit.shop.order.statements:cancel")
def _(order_id: int, old: int, reason: str) -> Any:
    mine = (order.c.order_id == order_id) & (order.c.order_status == old)
    return (
        update(order).where(mine).values(order_status=OrderStatus.CANCELLED, cancel_reason=reason)
    )


paid_overwrites_cancelled = bug(
    "paid-overwrites-cancelled",
    "The money is there, so the order is paid.",
    "paid-too-late:pay.take_payment.after_commit",
    breaks="states are legal",
    mirrors=8,
)


@paid_overwrites_cancelled.replaces("labkit.shop.order.statements:pay")
def _(order_id: int, now: datetime) -> Any:
    paid = {"pay_status": PayStatus.PAID, "pay_time": now}
    return update(order).where(order.c.order_id == order_id).values(paid)


key_made_anew = bug(
    "key-made-anew",
    "Each request gets a key of its own, so that no two orders are taken for one.",
    "repeated:order.open_order.after_commit",
    breaks="the same request was answered",
    mirrors=6,
)


@key_made_anew.replaces("labkit.web.intake:idempotency_key")
def _(_request: Request) -> str | None:
    return uuid.uuid4().hex


hash_not_compared = bug(
    "request-not-compared",
    "The same key is the same request.",
    "repeated:order.open_order.after_commit",
    breaks="another request under the same key",
)


@hash_not_compared.replaces("labkit.shop.order.steps:open_order")
def _(tx: Transaction, command: OpenOrder) -> Any:
    user_id, key = command.user_id, command.idempotency_key
    new_id = tx.ids.next()
    if tx.insert_once(
        steps.request,
        user_id=user_id,
        idempotency_key=key,
        order_id=new_id,
        request_hash=command.request_hash,
        add_time=tx.now,
    ):
        return Result[Opening].ok(Opening(order_id=new_id))
    request = tx.first(rows.request_of_key(user_id, key))
    late = request.answer is None and rows.is_late(tx, request.order_id)
    if late and not rows.exists(tx, request.order_id):
        tx.run(rows.rebind_key(user_id, key, new_id))
        return Result[Opening].ok(Opening(order_id=new_id))
    return Result[Opening].ok(Opening(order_id=request.order_id, answer=request.answer))


shipping_not_charged = bug(
    "shipping-not-charged",
    "The shipping fee is checked; what is to be paid is the goods.",
    "with-shipping",
    breaks="amounts add up",
    mirrors=10,
)


@shipping_not_charged.replaces("labkit.shop.order.pricing:check")
def _(
    command: ConfirmOrder, goods: GoodsFound, user: UserFound, coupon: CouponFound | None
) -> Result[PreOrder]:
    request = command.request
    goods_amount = request.goods_price * request.goods_number
    coupon_paid = coupon.coupon_price if coupon else 0
    pay_amount = goods_amount - request.money_paid - coupon_paid
    broken = [
        *pricing._goods_rules(command, goods),
        *pricing._balance_rules(command, user),
        *pricing._coupon_rules(command, coupon),
    ]
    if pay_amount < 0:
        text = f"money_paid {request.money_paid} and the coupon exceed order_amount"
        broken.append((Code.MONEY_MORE_THAN_AMOUNT, f"{text} {request.order_amount}"))
    if broken:
        code, text = broken[0]
        return Result[PreOrder].refused(code, f"order {command.order_id}: {text}")
    return Result[PreOrder].ok(
        PreOrder(
            order_id=command.order_id,
            request=request,
            goods_amount=goods_amount,
            coupon_paid=coupon_paid,
            pay_amount=pay_amount,
        )
    )


number_below_one = bug(
    "number-below-one",
    "The page lets nobody order fewer than one.",
    "refused-goods-number-wrong:order.open_order.after_commit",
    breaks="not 422 GOODS_NUMBER_WRONG",
    mirrors=3,
)


@number_below_one.replaces("labkit.shop.messages:DeductStock")
class _AnyNumber(DeductStock):
    goods_number: int


@number_below_one.replaces("labkit.shop.order.pricing:_goods_rules")
def _(command: ConfirmOrder, goods: GoodsFound) -> Iterator[tuple[Code, str]]:
    request = command.request
    if request.goods_price != goods.goods_price:
        text = (
            f"goods_price {request.goods_price} is not the price {goods.goods_price} of the goods"
        )
        yield Code.GOODS_PRICE_WRONG, text
    if request.goods_number > goods.goods_number:
        text = f"goods_number {request.goods_number} is more than the {goods.goods_number} in stock"
        yield Code.STOCK_SHORT, text
    fee = pricing.shipping_fee(pricing.goods_amount(request))
    if request.shipping_fee != fee:
        yield Code.SHIPPING_FEE_WRONG, f"shipping_fee {request.shipping_fee} should be {fee}"
    amount = pricing.goods_amount(request) + fee
    if request.order_amount != amount:
        yield Code.ORDER_AMOUNT_WRONG, f"order_amount {request.order_amount} should be {amount}"


constant_worker = bug(
    "constant-worker",
    "Worker 1, datacenter 1: as in the example of the library.",
    "two-id-makers",
    breaks="as the same worker",
    mirrors=10,
)


@constant_worker.replaces("labkit.runtime.registry.ids:IdMaker.next")
def _(self: Any) -> Any:
    with self._lock:
        now = max(self._now_ms(), self._last_ms)
        self._sequence = self._sequence + 1 if now == self._last_ms else 0
        self._last_ms = now
        return first_of(now) | (1 << 5 | 1) << 12 | self._sequence
