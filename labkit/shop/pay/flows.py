"""Paying (支付): the flows that open a payment, and that believe a callback."""

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
from labkit.shop.pay_messages import (
    Callback,
    CreatePayment,
    CreateTrade,
    OpenPayment,
    PaymentFound,
    PaymentOpened,
    TradeSeen,
)
from labkit.shop.states import OrderStatus, PayStatus

_WHOLE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)  # as the platform writes it: one spelling
_LONGEST_TRADE_NO = 64
_TOO_MUCH = 1 << 63  # no column holds it


@flow
async def create_payment(shop: PayShop, command: CreatePayment) -> Result[PaymentOpened]:
    """Open the payment of an order: save it, then have the platform open the trade."""
    # 1. the order must be confirmed and unpaid
    found = await shop.orders.find_order(FindOrder(order_id=command.order_id))
    order = found.data
    if not isinstance(order, OrderFound):
        return Result[PaymentOpened].forward(found)
    if order.order_status != OrderStatus.CONFIRMED or order.pay_status != PayStatus.UNPAID:
        return _not_payable(order)

    # 2. save the payment, unpaid: a callback that is quicker than we are finds it
    opened = await shop.run(
        steps.open_payment,
        OpenPayment(order_id=order.order_id, user_id=order.user_id, pay_amount=order.pay_amount),
    )
    if opened.data is None:
        return Result[PaymentOpened].forward(opened)

    # 3. have the platform open the trade: asked again under the same pay id, it is the same one
    trade = await shop.platform.create_trade(await _trade_for(shop, order, opened.data))
    if trade.data is None:
        return Result[PaymentOpened].forward(trade)

    # 4. perhaps it was paid or given up, and we have not heard of it yet; or the order has ended
    if trade.data.trade_status in (TradeStatus.TRADE_CLOSED, *PAID_STATES):
        taken = await shop.run(steps.take_payment, TradeSeen.of(trade.data))
        if not taken.success:
            return Result[PaymentOpened].forward(taken)
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
    """Believe a callback if everything about it is right; the answer comes after the commit."""
    # 1. nothing is believed but the signature over exactly these parameters
    fields = dict(command.fields)
    if not signing.verify(shop.platform_key, fields):
        return _refuse(Code.PAYMENT_ERROR, "the signature is not the platform's")
    if fields.get("app_id") != APP_ID:
        return _refuse(Code.PAYMENT_ERROR, "it is for another merchant")

    # 2. payment, amount and state are compared with what we know, and taken in one transaction
    numbers = [fields.get(name, "") for name in ("out_trade_no", "total_amount")]
    if not all(_WHOLE.fullmatch(number) and int(number) < _TOO_MUCH for number in numbers):
        return _refuse(Code.BAD_REQUEST, "no whole number of a payment, or of cents")
    if len(fields.get("trade_no", "")) > _LONGEST_TRADE_NO:
        return _refuse(Code.BAD_REQUEST, f"trade_no: longer than {_LONGEST_TRADE_NO} characters")
    status = fields.get("trade_status", "")
    if status not in EXISTING_STATES:
        return _refuse(Code.BAD_REQUEST, f"{status!r} is no state of a trade"[:100])
    return await shop.run(
        steps.take_payment,
        TradeSeen(
            pay_id=int(numbers[0]),
            total_amount=int(numbers[1]),
            trade_no=fields.get("trade_no"),
            trade_status=status,
        ),
    )


def _refuse(code: Code, why: str) -> Result[None]:
    return Result[None].refused(code, f"callback: {why}")


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
    """What the cashier page shows; a payment does not fail for want of a name."""
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
