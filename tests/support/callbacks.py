"""Callbacks as the platform sends them, and as others forge them, to the real pay web."""

from typing import Any
from urllib.parse import urlencode

import httpx

from labkit.payment_api import keys
from labkit.payment_api.signing import signed
from labkit.results import Result
from labkit.runtime.errors import Unknown
from labkit.runtime.rpc.contract import methods_of
from labkit.shop.pay import flows
from labkit.shop.pay import messages as p
from labkit.shop.pay.contract import PayService
from labkit.shop.states import PaymentState
from labkit.web.payments import pay_web
from tests.support.payworld import PayWorld

KEY, FOREIGN = keys.new(), keys.new()


METHOD = methods_of(PayService)["take_callback"]  # its answer must be able to travel


Fields = dict[str, str]


class Payments:
    """The pay service behind the web, as its stub."""

    def __init__(self, world: PayWorld) -> None:
        self.world, self.away = world, False

    async def take_callback(self, command: p.Callback) -> Result[None]:
        """Run the real flow, or be away."""
        if self.away:
            raise Unknown("pay gave no answer")
        answer = await flows.take_callback(self.world.shop, command)
        sent = METHOD.answer.dump_json(answer, warnings=False)
        received: Result[None] = METHOD.answer.validate_json(sent)
        return received


class Payment:
    """A payment that was made at the platform, of which the shop has not heard."""

    def __init__(self, world: PayWorld) -> None:
        self.world, self.payments = world, Payments(world)
        self.pay_id = world.create(world.place()).data.pay_id
        world.press(self.pay_id)
        self.fields = world.notice(self.pay_id)
        self.web = pay_web(self.payments, limit=10)

    def post(self, body: bytes, **how: Any) -> httpx.Response:
        """Send a body to the callback, as it is."""

        async def main() -> httpx.Response:
            transport = httpx.ASGITransport(self.web, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://pay") as client:
                kind = {"content-type": "application/x-www-form-urlencoded"}
                return await client.post("/pay/callback", content=body, headers=kind, **how)

        return self.world.do(main())

    def is_refused(self, body: bytes | Fields, status: tuple[int, ...] = (400, 404, 422)) -> None:
        """Sent, it is answered `fail`, and no row changes; the genuine one succeeds afterwards."""
        before = self.world.stores["pay"].everything()
        answer = self.post(urlencode(body).encode() if isinstance(body, dict) else body)
        assert (answer.text, answer.status_code in status) == ("fail", True), answer.status_code
        assert self.world.stores["pay"].everything() == before
        self.is_taken_once()

    def is_taken_once(self) -> None:
        """The genuine callback succeeds; replayed it succeeds too, and changes nothing."""
        assert self.row()["is_paid"] == PaymentState.OPEN
        body = urlencode(self.fields).encode()
        answer = self.post(body)
        assert (answer.status_code, answer.text) == (200, "success")
        assert self.row()["is_paid"] == PaymentState.PAID
        after = self.world.stores["pay"].everything()
        answer = self.post(body)
        assert (answer.status_code, answer.text) == (200, "success")
        assert self.world.stores["pay"].everything() == after

    def row(self) -> dict[str, Any]:
        return self.world.stores["pay"].row("trade_pay", pay_id=self.pay_id)

    def signed(self, **changed: str | None) -> Fields:
        """The callback, changed, and then signed by the platform itself."""
        fields = {
            name: value
            for name, value in (self.fields | changed).items()
            if value is not None and name not in ("sign", "sign_type")
        }
        return signed(self.world.key, fields)
