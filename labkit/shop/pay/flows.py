"""Paying (支付): the flows that open a payment, and that verify and apply a callback."""

import re
from datetime import timedelta

from labkit.payment_api import signing
from labkit.payment_api.keys import APP_ID
from labkit.payment_api.trade_status import EXISTING_STATES, PAID_STATES, TradeStatus
from labkit.results import Result
from labkit.runtime import Unknown, flow
from labkit.shop.codes import Code
from labkit.shop.messages import FindGoods, FindOrder, OrderFound
from labkit.shop.pay import steps
from labkit.shop.pay.context import PayShop
from labkit.shop.pay.messages import (
    Callback,
    CreatePayment,
    CreateTrade,
    OpenPayment,
    PaymentFound,
    PaymentOpened,
    TradeReport,
)
from labkit.shop.states import OrderStatus, PayStatus

_WHOLE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)  # as the platform writes it: one spelling only
_LONGEST_TRADE_NO = 64
_BIGINT_END = 1 << 63  # no column holds it


@flow
async def create_payment(shop: PayShop, command: CreatePayment) -> Result[PaymentOpened]:
    """Open the payment of an order: save it, then have the platform open the trade."""
    # 1. the order must be confirmed and unpaid
    answer = await shop.orders.find_order(FindOrder(order_id=command.order_id))
    order = answer.data
    if not isinstance(order, OrderFound):
        return Result[PaymentOpened].forward(answer)
    if order.order_status != OrderStatus.CONFIRMED or order.pay_status != PayStatus.UNPAID:
        return _not_payable(order)

    # 2. save the payment, unpaid: a callback that overtakes the next answer finds it
    opened = await shop.run(
        steps.open_payment,
        OpenPayment(order_id=order.order_id, user_id=order.user_id, pay_amount=order.pay_amount),
    )
    if opened.data is None:
        return Result[PaymentOpened].forward(opened)

    # 3. have the platform open the trade; the same pay id gets the same trade again
    trade = await shop.platform.create_trade(await _trade_for(shop, order, opened.data))
    if trade.data is None:
        return Result[PaymentOpened].forward(trade)

    # 4. it may have been paid or closed before we were told; or the order has ended
    if trade.data.trade_status in (TradeStatus.TRADE_CLOSED, *PAID_STATES):
        applied = await shop.run(steps.take_payment, TradeReport.of(trade.data))
        if not applied.success:
            return Result[PaymentOpened].forward(applied)
    still_open = await shop.run(steps.note_trade, trade.data)
    if not still_open.success:
        return Result[PaymentOpened].forward(still_open)
    return Result[PaymentOpened].ok(
        PaymentOpened(
            pay_id=opened.data.pay_id,
            pay_amount=opened.data.pay_amount,
            cashier_url=str(trade.data.cashier_url),
        ),
        f"payment {opened.data.pay_id}: is open, to be paid at the cashier",
    )


@flow
async def take_callback(shop: PayShop, command: Callback) -> Result[None]:
    """Apply a callback if everything about it is right; the answer goes out after the commit."""
    # 1. trust nothing but the platform's signature over exactly these parameters
    fields = dict(command.fields)
    if not signing.verify(shop.platform_key, fields):
        return _refuse(Code.PAYMENT_ERROR, "the signature is not the platform's")
    if fields.get("app_id") != APP_ID:
        return _refuse(Code.PAYMENT_ERROR, "it is for another merchant")

    # 2. compare payment, amount and state with our row, and apply them in one transaction
    numbers = [fields.get(name, "") for name in ("out_trade_no", "total_amount")]
    if not all(_WHOLE.fullmatch(number) and int(number) < _BIGINT_END for number in numbers):
        return _refuse(Code.BAD_REQUEST, "no whole number of a payment, or of cents")
    if len(fields.get("trade_no", "")) > _LONGEST_TRADE_NO:
        return _refuse(Code.BAD_REQUEST, f"trade_no: longer than {_LONGEST_TRADE_NO} characters")
    status = fields.get("trade_status", "")
    if status not in EXISTING_STATES:
        return _refuse(Code.BAD_REQUEST, f"{status!r} is no state of a trade"[:100])
    return await shop.run(
        steps.take_payment,
        TradeReport(
            pay_id=int(numbers[0]),
            total_amount=int(numbers[1]),
            trade_no=fields.get("trade_no"),
            trade_status=status,
        ),
    )


def _refuse(code: Code, reason: str) -> Result[None]:
    return Result[None].refused(code, f"callback: {reason}")


async def _trade_for(shop: PayShop, order: OrderFound, payment: PaymentFound) -> CreateTrade:
    assert order.confirm_time  # a confirmed order has one
    return CreateTrade(
        order_id=order.order_id,
        pay_id=payment.pay_id,
        total_amount=payment.pay_amount,
        subject=f"{await _name_of(shop, order.goods_id)} × {order.goods_number}",
        time_expire=order.confirm_time + timedelta(seconds=shop.settings.unpaid_order_ttl),
    )


async def _name_of(shop: PayShop, goods_id: int) -> str:
    """Return the goods' name for the cashier page; a payment does not fail for want of it."""
    try:
        goods = await shop.goods.find_goods(FindGoods(goods_id=goods_id))
    except Unknown:
        return f"goods {goods_id}"
    return goods.data.goods_name if goods.data else f"goods {goods_id}"


def _not_payable(order: OrderFound) -> Result[PaymentOpened]:
    if order.order_status == OrderStatus.CONFIRMED and order.pay_status == PayStatus.PAID:
        return Result[PaymentOpened].refused(
            Code.PAYMENT_ALREADY_PAID, f"order {order.order_id}: is paid already"
        )
    text = f"order {order.order_id}: was cancelled or returned, and cannot be paid"
    return Result[PaymentOpened].refused(Code.ORDER_NOT_PAYABLE, text)
