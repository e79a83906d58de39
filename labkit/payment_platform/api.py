"""The platform's API for merchants, and its bill. A request that is not signed changes nothing.

The platform signs every answer to a signed request, over the answer's parameters and the request's
number, so that nobody can answer in its place, nor with an answer to another request.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from fastapi import FastAPI, Request, Response

from labkit.payment_api.signing import signed
from labkit.payment_api.trade_status import TradeStatus
from labkit.payment_platform import answers, bill, forms, refunds, trades
from labkit.payment_platform.messages import (
    BillDay,
    CashierToken,
    CashierTrade,
    FindTrade,
    OpenTrade,
    Refund,
)
from labkit.payment_platform.notifier import Notifier
from labkit.results import Result
from labkit.runtime.clock import Clock
from labkit.runtime.environment import StepDatabase
from labkit.runtime.injection.failpoints import Failpoints
from labkit.runtime.steps import Step
from labkit.shop.codes import Code

_STEP_SECONDS = 10.0
_EARLY_SECONDS = 5.0

A = TypeVar("A")
C = TypeVar("C")
_Action = Callable[[dict[str, str]], Awaitable[Result[object]]]


@dataclass(frozen=True)
class Api:
    """The platform's API.

    Attributes:
        database: the platform's.
        notifier: sends its notices.
        failpoints: crossed before an answer.
        key: the platform's private key.
        merchant_key: the merchant's public key.
        url: of this process, without a slash at its end.
        clock: of this process.
        make_token: makes the secret of a cashier page's address.
    """

    database: StepDatabase
    notifier: Notifier
    failpoints: Failpoints
    key: RSAPrivateKey
    merchant_key: RSAPublicKey
    url: str
    clock: Clock
    make_token: Callable[[], str]

    async def respond(self, action: _Action, form: dict[str, str]) -> tuple[dict[str, str], int]:
        """Serve a request of the merchant.

        Args:
            action: what the request asks for.
            form: its parameters.

        Returns:
            The parameters of the answer, signed, and its status.

        Raises:
            Forbidden: the merchant has not signed it.
            BadForm: a parameter is missing or wrong.
        """
        params = forms.read_signed(form, self.merchant_key)
        name = forms.take_name(params)
        result = await action(params)
        answer = signed(self.key, answers.flat(result, self.url) | name)
        return answer, Code(result.code).status

    async def create(self, params: dict[str, str]) -> Result[object]:
        """Open a trade; the same number again gets the same trade."""
        form = forms.read(forms.CreateForm, params)
        command = OpenTrade(token=self.make_token(), **form.model_dump())
        opened = await self._run(trades.create_trade, command)
        action = await self.failpoints.act_async("platform.create_trade.before_answer")
        if action.verb == "early" and opened.data:
            await self._pay_early(opened.data)
        return opened

    async def query(self, params: dict[str, str]) -> Result[object]:
        """Query a trade."""
        form = forms.read(forms.TradeForm, params)
        return await self._run(trades.query_trade, FindTrade(**form.model_dump()))

    async def close(self, params: dict[str, str]) -> Result[object]:
        """Close a waiting trade; the answer tells its state then."""
        form = forms.read(forms.TradeForm, params)
        return await self._run(trades.close_trade, FindTrade(**form.model_dump()))

    async def refund(self, params: dict[str, str]) -> Result[object]:
        """Refund money of a trade, once under each request number."""
        form = forms.read(forms.RefundForm, params)
        return await self._run(refunds.refund_trade, Refund(**form.model_dump()))

    async def bill(self, request: Request) -> Response:
        """Answer with the bill of a business day, for anybody who reaches this port."""
        query = BillDay(day=forms.read_day(request.url.query))
        return Response(await self._run(bill.write_bill, query), media_type="text/csv")

    def signed(self, action: _Action) -> Callable[[Request], Awaitable[Response]]:
        """Make an endpoint that serves the merchant's signed requests only."""

        async def endpoint(request: Request) -> Response:
            answer, status = await self.respond(action, await forms.read_body(request))
            return answers.json(answer, status)

        return endpoint

    async def _run(self, step: Step[C, A], command: C) -> A:
        return await self.database.ask(step, command, self.clock.monotonic() + _STEP_SECONDS)

    async def _pay_early(self, trade: CashierTrade) -> None:
        """Pay the trade, and send its notice, before the merchant has the answer."""
        if trade.trade_status != TradeStatus.WAIT_BUYER_PAY:
            return
        sent = self.notifier.expect(int(trade.out_trade_no))
        await self._run(trades.pay_trade, CashierToken(token=trade.token))
        await asyncio.wait([asyncio.ensure_future(sent.wait())], timeout=_EARLY_SECONDS)


def add_routes(app: FastAPI, api: Api) -> None:
    """Add the API and the bill to the platform's application."""
    for name, action in {
        "create": api.create,
        "query": api.query,
        "close": api.close,
        "refund": api.refund,
    }.items():
        app.add_route(f"/api/trade/{name}", api.signed(action), ["POST"])
    app.add_route("/bill", api.bill, ["GET"])
