"""Pay web (支付入口): the HTTP entrance for payments, and for the platform's callbacks."""

import time
from collections.abc import Mapping

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse

from labkit.payment_api import signing
from labkit.results import Result
from labkit.runtime.errors import Unknown
from labkit.shop.codes import Code
from labkit.shop.pay import messages as p
from labkit.shop.pay.contract import PayService
from labkit.web.answers import Limiter, answer, make_web
from labkit.web.intake import BadRequest, Body, Id, parse_id, read_body, read_bytes, refuse_query

_REFUSALS_PER_S, _MAX_REFUSALS = 50.0, 200.0


class CreatePaymentBody(Body):
    """The order to be paid."""

    order_id: Id


class RateLimiter:
    """A token bucket for callbacks that are refused.

    A callback that nobody could verify, because the pay service is away, counts as well: a flood
    must not be free for as long as it keeps that service from answering. While the bucket is empty
    no callback is even read. A genuine one that is turned away then does no harm: the platform
    repeats it, and the pay service asks by itself.
    """

    def __init__(self) -> None:
        self._left, self._at = _MAX_REFUSALS, time.monotonic()

    def is_exhausted(self) -> bool:
        """Return True if the bucket is empty now."""
        now = time.monotonic()
        self._left = min(_MAX_REFUSALS, self._left + (now - self._at) * _REFUSALS_PER_S)
        self._at = now
        return self._left < 1

    def count(self) -> None:
        """Count a refused callback."""
        self._left -= 1


def pay_web(payments: PayService, limit: int) -> FastAPI:
    """Make the web application.

    Args:
        payments: a stub of the pay service whose `create_payment` has the flow's time.
        limit: payments and callbacks at once; the sender of the next is told to come again.
    """
    app = make_web("pay web")
    limiter, refusals = Limiter(limit), RateLimiter()

    async def create(request: Request) -> Response:
        if limiter.is_full:
            text = f"{limit} payments are on their way already; ask again"
            return answer(Result[p.PaymentOpened].refused(Code.DEPENDENCY_AWAY, text))
        with limiter.slot():
            body = await read_body(request, CreatePaymentBody)
            command = p.CreatePayment(order_id=body.order_id)
            return answer(await payments.create_payment(command))

    async def find(request: Request) -> Response:
        refuse_query(request)
        pay_id = parse_id("pay_id", request.path_params["pay_id"])
        return answer(await payments.find_payment(p.FindPayment(pay_id=pay_id)))

    async def callback(request: Request) -> Response:
        if refusals.is_exhausted() or limiter.is_full:
            return PlainTextResponse("fail", 429, {"Retry-After": "1"})
        with limiter.slot():
            result = await _take(payments, request)
        if not result.success:
            refusals.count()
        return PlainTextResponse("success" if result.success else "fail", Code(result.code).status)

    app.add_route("/pay/createPayment", create, ["POST"])
    app.add_route("/pay/callback", callback, ["POST"])
    app.add_route("/pay/{pay_id}", find, ["GET"])
    return app


async def take_callback(payments: PayService, fields: Mapping[str, str]) -> Result[None]:
    """Pass a callback on as it came, each parameter decoded and none interpreted."""
    try:
        return await payments.take_callback(p.Callback(fields=tuple(fields.items())))
    except Unknown as unknown:
        return Result[None].refused(Code.DEPENDENCY_AWAY, str(unknown))


async def _take(payments: PayService, request: Request) -> Result[None]:
    try:
        refuse_query(request)
        fields = signing.read_form(await read_bytes(request))
    except (BadRequest, ValueError) as error:  # no form, or not as a form is written
        return Result[None].refused(Code.BAD_REQUEST, f"callback: {error}")
    return await take_callback(payments, fields)
