"""Order web (订单入口): the HTTP entrance for orders."""

import uuid

from fastapi import FastAPI, Request, Response

from labkit.results import Result
from labkit.runtime.errors import Unknown
from labkit.shop import messages as m
from labkit.shop.codes import Code
from labkit.shop.order.answers import undecided
from labkit.shop.order.contract import OrderService
from labkit.web.answers import Limiter, answer, make_web
from labkit.web.intake import (
    Amount,
    Body,
    Id,
    Text64,
    Text255,
    idempotency_key,
    parse_id,
    read_body,
    refuse_query,
)


class PlaceOrderBody(Body):
    """下单: amounts are cents, numbers are pieces."""

    user_id: Id
    goods_id: Id
    goods_number: Amount
    goods_price: Amount
    shipping_fee: Amount
    order_amount: Amount
    money_paid: Amount
    coupon_id: Id | None = None
    address: Text255
    consignee: Text64


class UserBody(Body):
    """The user who cancels or returns an order."""

    user_id: Id


def order_web(orders: OrderService, limit: int) -> FastAPI:
    """Make the web application.

    Args:
        orders: a stub of the order service whose `confirm_order` has the flow's time.
        limit: orders at once; the client of the next is told to ask again.
    """
    app = make_web("order web")
    limiter = Limiter(limit)

    async def confirm(request: Request) -> Response:
        if limiter.is_full:  # before any work: this answer costs nothing
            text = f"{limit} orders are on their way already; ask again"
            return answer(Result[m.OrderPlaced].refused(Code.DEPENDENCY_AWAY, text))
        with limiter.slot():
            return await _place(orders, request)

    async def find(request: Request) -> Response:
        refuse_query(request)
        return answer(await orders.find_order(m.FindOrder(order_id=_order_id(request))))

    async def cancel(request: Request) -> Response:
        return answer(await orders.cancel_by_user(await _user_order(request)))

    async def return_(request: Request) -> Response:
        return answer(await orders.return_order(await _user_order(request)))

    # Plain routes: `intake` reads the requests, so that FastAPI analyses no signatures, which took
    # a quarter of a request's time.
    app.add_route("/order/confirm", confirm, ["POST"])
    app.add_route("/order/{order_id}", find, ["GET"])
    app.add_route("/order/{order_id}/cancel", cancel, ["POST"])
    app.add_route("/order/{order_id}/return", return_, ["POST"])

    return app


async def place_order(orders: OrderService, key: str, order: m.PlaceOrder) -> Result[m.OrderPlaced]:
    """Place an order, or return the answer that its request was given before.

    Args:
        orders: the order service.
        key: tells the request from all others.
        order: the request.

    Raises:
        Unknown: no order could be opened now; the request may be sent again.
    """
    # the order id comes first, so that whatever happens later can name it
    opened = await orders.open_order(
        m.OpenOrder(user_id=order.user_id, idempotency_key=key, request_hash=order.digest())
    )
    if opened.data is None:
        return Result[m.OrderPlaced].forward(opened)
    if opened.data.answer:
        return Result[m.OrderPlaced].model_validate_json(opened.data.answer)
    order_id = opened.data.order_id
    try:
        return await orders.confirm_order(m.ConfirmOrder(order_id=order_id, request=order))
    except Unknown:
        return undecided(order_id)


async def _place(orders: OrderService, request: Request) -> Response:
    key = idempotency_key(request) or uuid.uuid4().hex
    order = m.PlaceOrder(**(await read_body(request, PlaceOrderBody)).model_dump())
    return answer(await place_order(orders, key, order))


def _order_id(request: Request) -> int:
    return parse_id("order_id", request.path_params["order_id"])


async def _user_order(request: Request) -> m.UserOrder:
    number = _order_id(request)
    return m.UserOrder(order_id=number, user_id=(await read_body(request, UserBody)).user_id)
