"""Placing an order (下单): the flow, and the sweepers that cancel what a dead flow left."""

import asyncio

from labkit.results import Result
from labkit.runtime import Unknown, flow, run_each
from labkit.shop.codes import Code
from labkit.shop.messages import (
    CancelOrder,
    ConfirmOrder,
    ConfirmPreOrder,
    CouponFound,
    DeductBalance,
    DeductStock,
    FindCoupon,
    FindGoods,
    FindOrder,
    FindUser,
    OrderPlaced,
    PreOrder,
    RefuseOrder,
    UseCoupon,
)
from labkit.shop.order import pricing, queries, steps
from labkit.shop.order.context import OrderShop


@flow
async def confirm_order(shop: OrderShop, command: ConfirmOrder) -> Result[OrderPlaced]:
    """Place an order: check, save it unconfirmed, take what it needs, confirm; or cancel it."""
    order_id = command.order_id

    # 1. check the request against goods, user and coupon as they are now
    checked = await _check(shop, command)
    pre_order = checked.data
    if pre_order is None:  # an earlier run of this flow may have saved the order and taken stock
        pre_order = await shop.run(queries.find_pre_order, FindOrder(order_id=order_id))
    if pre_order is None:
        return await _refuse(shop, order_id, checked)

    # 2. save the pre-order: from here on somebody will confirm or cancel it, whatever dies
    saved = await shop.run(steps.save_pre_order, pre_order)
    if not saved.success:
        return await _refuse(shop, order_id, saved)

    # 3. deduct stock, coupon and balance, in that order; 4. confirm, if the order got all of it
    outcome: Result[object]
    try:
        outcome = await _take(shop, pre_order)
        if outcome.success:
            outcome = await shop.run(steps.confirm_pre_order, confirmation(pre_order))
    except Unknown as unknown:
        outcome = Result[None].refused(Code.DEPENDENCY_AWAY, str(unknown))
    if outcome.success:
        return Result[OrderPlaced].ok(OrderPlaced(order_id=order_id), f"order {order_id} is placed")

    # or cancel: the same transaction tells every service to return what it took
    return await _cancel(shop, order_id, outcome)


async def _check(shop: OrderShop, command: ConfirmOrder) -> Result[PreOrder]:
    """Look up goods, user and coupon at once, and apply the rules of `pricing`."""
    request = command.request
    try:
        goods, user, coupon = await asyncio.gather(
            shop.goods.find_goods(FindGoods(goods_id=request.goods_id)),
            shop.users.find_user(FindUser(user_id=request.user_id)),
            _find_coupon(shop, request.coupon_id),
        )
    except Unknown as unknown:
        text = f"order {command.order_id}: {unknown}"
        return Result[PreOrder].refused(Code.DEPENDENCY_AWAY, text)
    answers: tuple[Result[object], ...] = (goods, user, coupon)
    for answer in answers:
        if not answer.success:
            return Result[PreOrder].forward(answer)
    assert goods.data  # a success carries its data
    assert user.data
    return pricing.check(command, goods.data, user.data, coupon.data)


async def _find_coupon(shop: OrderShop, coupon_id: int | None) -> Result[CouponFound]:
    if coupon_id is None:
        return Result[CouponFound].ok()
    return await shop.coupons.find_coupon(FindCoupon(coupon_id=coupon_id))


async def _take(shop: OrderShop, order: PreOrder) -> Result[None]:
    """Deduct stock, use the coupon, deduct balance; stop at the first refusal."""
    request, order_id = order.request, order.order_id
    answer = await shop.goods.deduct_stock(
        DeductStock(order_id=order_id, goods_id=request.goods_id, goods_number=request.goods_number)
    )
    if answer.success and request.coupon_id is not None:
        answer = await shop.coupons.use_coupon(
            UseCoupon(
                order_id=order_id,
                coupon_id=request.coupon_id,
                user_id=request.user_id,
                coupon_price=order.coupon_paid,
            )
        )
    if answer.success and request.money_paid:
        answer = await shop.users.deduct_balance(
            DeductBalance(order_id=order_id, user_id=request.user_id, money_paid=request.money_paid)
        )
    return answer


def confirmation(order: PreOrder) -> ConfirmPreOrder:
    """Return the command that confirms an order which has all that it needs."""
    return ConfirmPreOrder(
        order_id=order.order_id, user_id=order.request.user_id, pay_amount=order.pay_amount
    )


async def _refuse(shop: OrderShop, order_id: int, why: Result[object]) -> Result[OrderPlaced]:
    """Refuse an order of which nothing was saved; a final answer is stored before it is sent."""
    refusal = RefuseOrder(order_id=order_id, code=why.code, message=why.message)
    return await shop.run(steps.refuse_order, refusal)


async def _cancel(shop: OrderShop, order_id: int, cause: Result[object]) -> Result[OrderPlaced]:
    """Cancel the order and say why. An absent dependency is a 503 now, and a final 422 later."""
    final = cause.code if Code(cause.code).is_final else Code.ORDER_CANCELLED
    reason = cause.message.removeprefix(f"order {order_id}: ")
    command = CancelOrder(order_id=order_id, code=final, reason=reason[:255])
    cancelled = await shop.run(steps.cancel_failed, command)
    if not cancelled.success:  # another step decided: answer with its decision
        return await shop.run(queries.find_answer, FindOrder(order_id=order_id))
    return steps.cancelled_answer(command.model_copy(update={"code": cause.code}))


@flow
async def sweep_unconfirmed(shop: OrderShop, _command: None) -> None:
    """Cancel the orders whose flow died (docs/hazards.md, 27)."""
    expired = await shop.run(queries.find_expired, None)
    reason = "it was not confirmed in its time"
    commands = [_cancellation(order_id, reason) for order_id in expired]
    await run_each(shop.run, steps.cancel_expired, commands)


@flow
async def sweep_unpaid(shop: OrderShop, _command: None) -> None:
    """Cancel the orders whose time to pay is over."""
    unpaid = await shop.run(queries.find_unpaid, None)
    reason = "it was not paid in its time"
    commands = [_cancellation(order_id, reason) for order_id in unpaid]
    await run_each(shop.run, steps.cancel_unpaid, commands)


def _cancellation(order_id: int, reason: str) -> CancelOrder:
    return CancelOrder(order_id=order_id, code=Code.ORDER_CANCELLED, reason=reason)
