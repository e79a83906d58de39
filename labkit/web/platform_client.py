"""The merchant's side (SDK): signs requests, and trusts only answers that the platform signed."""

import json
import secrets

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from labkit.payment_api.http import Poster
from labkit.payment_api.signing import signed, verify
from labkit.payment_api.trade_status import TradeStatus
from labkit.results import Result
from labkit.runtime.errors import Unknown
from labkit.shop.codes import Code
from labkit.shop.pay.messages import AskTrade, CreateTrade, RefundTrade, TradeFound, TradeRefunded

#: Connections of one process to the platform.
MAX_CONNECTIONS = 64

_About = CreateTrade | AskTrade | RefundTrade


class PlatformClient:
    """The contract `PaymentPlatform` over HTTP.

    Its methods raise `Unknown` if no genuine answer came in time: the request may have been carried
    out, and can be repeated under the same numbers.

    Args:
        base_url: of the platform, without a slash at its end.
        app_id: the merchant's number there.
        key: the merchant's private key.
        platform_key: the platform's public key.
        notify_url: where the platform sends its callbacks.
        poster: posts the requests; it is closed with the client.
    """

    def __init__(
        self,
        base_url: str,
        app_id: str,
        key: RSAPrivateKey,
        platform_key: RSAPublicKey,
        notify_url: str,
        poster: Poster,
    ) -> None:
        self._base_url = base_url
        self._app_id = app_id
        self._key = key
        self._platform_key = platform_key
        self._notify_url = notify_url
        self._poster = poster

    async def create_trade(self, command: CreateTrade) -> Result[TradeFound]:
        """Open a trade; asked again with the same amount, the same trade."""
        answer = await self._ask(
            "create",
            command,
            subject=command.subject.replace("&", "＆"),  # `&` separates signed parameters
            total_amount=str(command.total_amount),
            time_expire=command.time_expire.isoformat(),
            notify_url=self._notify_url,
        )
        return _trade(command, answer)

    async def query_trade(self, query: AskTrade) -> Result[TradeFound]:
        """Ask what became of a trade."""
        return _trade(query, await self._ask("query", query))

    async def close_trade(self, command: AskTrade) -> Result[TradeFound]:
        """Close a trade that is not paid; the answer says what holds."""
        return _trade(command, await self._ask("close", command))

    async def refund_trade(self, command: RefundTrade) -> Result[TradeRefunded]:
        """Refund money, once for each refund id."""
        answer = await self._ask(
            "refund",
            command,
            out_request_no=str(command.refund_id),
            refund_amount=str(command.amount),
        )
        if answer["success"] != "true":
            return Result[TradeRefunded].refused(*_refusal(command, answer))
        return Result[TradeRefunded].ok(
            TradeRefunded(
                pay_id=command.pay_id,
                refund_id=int(answer["out_request_no"]),
                amount=int(answer["refund_amount"]),
            )
        )

    async def ask_health(self) -> None:
        """Query a trade that nobody opened, to see whether the platform answers.

        Raises:
            Unknown: it does not.
        """
        await self.query_trade(AskTrade(order_id=1, pay_id=1))

    async def close(self) -> None:
        """Close all connections."""
        await self._poster.close()

    async def _ask(self, method: str, about: _About, **params: str) -> dict[str, str]:
        """Send a signed request, and return the genuine answer to exactly this request."""
        what = f"order {about.order_id}: payment {about.pay_id}: the platform's answer to {method}"
        number = {"out_trade_no": str(about.pay_id), "request_id": secrets.token_hex(16)}
        request = signed(self._key, {"app_id": self._app_id, **number, **params})
        try:
            url = f"{self._base_url}/api/trade/{method}"
            status, body = await self._poster.post(url, request)
        except OSError as error:
            raise Unknown(f"{what} did not come: {error or type(error).__name__}") from error
        answer = _strings(body)
        if not verify(self._platform_key, answer):
            raise Unknown(f"{what} is not signed by it: {status} {answer}"[:500])
        if any(answer.get(name) != value for name, value in number.items()):
            raise Unknown(f"{what} is one to another request")
        return answer


def _strings(text: bytes) -> dict[str, str]:
    """Return an answer's parameters, without those that are no text and so not signed."""
    try:
        body = json.loads(text)
    except ValueError:
        return {}
    fields = body.items() if isinstance(body, dict) else ()
    return {name: value for name, value in fields if isinstance(value, str)}


def _trade(about: CreateTrade | AskTrade, answer: dict[str, str]) -> Result[TradeFound]:
    if int(answer["code"]) == Code.PAYMENT_NOT_FOUND:
        return Result[TradeFound].ok(
            TradeFound(pay_id=about.pay_id, trade_status=TradeStatus.TRADE_NOT_EXIST)
        )
    if answer["success"] != "true":
        return Result[TradeFound].refused(*_refusal(about, answer))
    return Result[TradeFound].ok(
        TradeFound(
            pay_id=about.pay_id,
            trade_no=answer["trade_no"],
            trade_status=answer["trade_status"],
            total_amount=int(answer["total_amount"]),
            cashier_url=answer["cashier_url"],
        )
    )


def _refusal(about: _About, answer: dict[str, str]) -> tuple[Code, str]:
    text = f"order {about.order_id}: payment {about.pay_id}: {answer['message']}"
    return Code(int(answer["code"])), text
