"""Pay web (支付入口): the HTTP entrance for payments, and for the platform's callbacks."""

import time

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

_REFUSED_A_SECOND, _REFUSED_AT_ONCE = 50.0, 200.0


class CreatePaymentBody(Body):
    """Which order is to be paid."""

    order_id: Id


class RateLimiter:
    """How many callbacks may come that are not taken: a bucket that fills again as time goes.

    One whose signature nobody has verified, because the pay service is away, counts as well: a
    flood must not be free for as long as it keeps that service from answering. Whoever sends more
    is not even looked at. A genuine callback that is turned away with them does no harm: the
    platform repeats it, and the pay service asks by itself.
    """

    def __init__(self) -> None:
        self._left, self._at = _REFUSED_AT_ONCE, time.monotonic()

    def is_exhausted(self) -> bool:
        """Return True if the bucket is empty now."""
        now = time.monotonic()
        self._left = min(_REFUSED_AT_ONCE, self._left + (now - self._at) * _REFUSED_A_SECOND)
        self._at = now
        return self._left < 1

    def note(self) -> None:
        """Count one that was not taken."""
        self._left -= 1


def pay_web(payments: PayService, limit: int) -> FastAPI:
    """The web application.

    Args:
        payments: the pay service, as a stub whose `create_payment` has the flow's time.
        limit: how many payments and callbacks may be on their way; the next is told to come again.
    """
    app = make_web("pay web")
    limiter, refusals = Limiter(limit), RateLimiter()

    async def create(request: Request) -> Response:
        if limiter.is_full:
            text = f"{limit} payments are on their way already; ask again"
            return answer(Result[p.PaymentOpened].refused(Code.DEPENDENCY_AWAY, text))
        with limiter.slot():
            asked = await read_body(request, CreatePaymentBody)
            command = p.CreatePayment(order_id=asked.order_id)
            return answer(await payments.create_payment(command))

    async def find(request: Request) -> Response:
        refuse_query(request)
        pay_id = parse_id("pay_id", request.path_params["pay_id"])
        return answer(await payments.find_payment(p.FindPayment(pay_id=pay_id)))

    async def callback(request: Request) -> Response:
        if refusals.is_exhausted() or limiter.is_full:
            return PlainTextResponse("fail", 429, {"Retry-After": "1"})
        with limiter.slot():
            taken = await _take(payments, request)
        if not taken.success:
            refusals.note()
        return PlainTextResponse("success" if taken.success else "fail", Code(taken.code).status)

    app.add_route("/pay/createPayment", create, ["POST"])
    app.add_route("/pay/callback", callback, ["POST"])
    app.add_route("/pay/{pay_id}", find, ["GET"])
    return app


async def _take(payments: PayService, request: Request) -> Result[None]:
    """Hand a callback on as it came, each parameter decoded and none interpreted."""
    try:
        refuse_query(request)
        fields = signing.read_form(await read_bytes(request))
    except (BadRequest, ValueError) as error:  # no form, or not as a form is written
        return Result[None].refused(Code.BAD_REQUEST, f"callback: {error}")
    try:
        return await payments.take_callback(p.Callback(fields=tuple(fields.items())))
    except Unknown as unknown:
        return Result[None].refused(Code.DEPENDENCY_AWAY, str(unknown))
