"""The merchant's client: it keeps the contract, and believes only the platform's own answers."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from labkit.payment_api import keys
from labkit.payment_api.http import HttpPoster
from labkit.payment_api.signing import signed
from labkit.runtime.errors import Unknown
from labkit.runtime.injection.failpoints import FailpointStore
from labkit.shop.codes import Code
from labkit.shop.pay.messages import AskTrade, RefundTrade
from labkit.web.platform_client import PlatformClient
from tests.support.platforming import (
    FOREIGN_KEY,
    MERCHANT_KEY,
    PLATFORM_KEY,
    Served,
    make_home,
    rows_at,
    served,
)

ASK = AskTrade(order_id=101, pay_id=1)


Body = dict[str, str]


def run(folder: Path, scenario: Callable[[Served], Coroutine[Any, Any, None]]) -> None:
    """Serve the platform and run a scenario on it."""

    async def whole() -> None:
        async with served(make_home(folder)) as platform:
            await scenario(platform)

    asyncio.run(whole())


def test_the_client_does_what_the_contract_says(tmp_path: Path) -> None:
    """Create, query, close and refund over the wire, each asked twice; what does not exist is
    TRADE_NOT_EXIST; a refusal comes with its code and the order's number."""

    async def scenario(platform: Served) -> None:
        client = platform.client
        for ask in (client.query_trade, client.close_trade):
            assert (await ask(ASK)).data.trade_status == "TRADE_NOT_EXIST"
        opened = await client.create_trade(platform.asked())
        assert await client.create_trade(platform.asked()) == opened
        assert opened.data.trade_status == "WAIT_BUYER_PAY"
        other = await client.create_trade(platform.asked(amount=1))
        assert other.code == Code.IDEMPOTENCY_KEY_REUSED
        give_back = RefundTrade(order_id=101, pay_id=1, refund_id=9, amount=5000)
        early = await client.refund_trade(give_back)
        assert (early.code, "order 101" in early.message) == (Code.PAYMENT_ERROR, True)
        paid = await platform.http.post(f"{opened.data.cashier_url}/pay")
        assert paid.status_code == 200
        for ask in (client.query_trade, client.close_trade, client.query_trade):
            trade = (await ask(ASK)).data
            assert (trade.trade_status, trade.total_amount) == ("TRADE_SUCCESS", 5000)
            assert trade.trade_no == opened.data.trade_no
        for _ in range(2):
            refunded = (await client.refund_trade(give_back)).data
            assert (refunded.pay_id, refunded.refund_id, refunded.amount) == (1, 9, 5000)
        assert len(rows_at(platform.home)["platform_refund"]) == 1

    run(tmp_path, scenario)


def test_an_answer_that_does_not_come_leaves_what_was_done(tmp_path: Path) -> None:
    """A refused commit leaves nothing and a late answer a trade: both are unknown to the merchant,
    who asks again under the same number and gets one trade."""

    async def scenario(platform: Served) -> None:
        for action, there in (("before_commit", 0), ("after_commit", 1)):
            how = "refuse" if action == "before_commit" else "delay:3"
            FailpointStore(platform.home.faults).arm(f"platform.create_trade.{action}", how)
            impatient = platform.client_of(seconds=1)
            with pytest.raises(Unknown, match="order 101"):
                await impatient.create_trade(platform.asked())
            await impatient.close()
            assert len(rows_at(platform.home)["platform_trade"]) == there
        assert (await platform.client.create_trade(platform.asked())).success
        assert len(rows_at(platform.home)["platform_trade"]) == 1

    run(tmp_path, scenario)


def test_goods_may_be_called_what_they_like(tmp_path: Path) -> None:
    """A name that reads like parameters is carried, and is no parameter."""

    async def scenario(platform: Served) -> None:
        command = platform.asked().model_copy(update={"subject": "A&B&total_amount=1 <b>%20"})
        assert (await platform.client.create_trade(command)).success
        [row] = rows_at(platform.home)["platform_trade"]
        assert (row["subject"], row["total_amount"]) == ("A＆B＆total_amount=1 <b>%20", 5000)

    run(tmp_path, scenario)


Answer = Callable[[Body], bytes]


@asynccontextmanager
async def impostor(answer: Answer) -> AsyncIterator[PlatformClient]:
    """A client whose platform is somebody else, who answers as they like."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        sent = dict(httpx.QueryParams((await reader.readexactly(length)).decode()))
        writer.write(answer(sent))
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    url = "http://{}:{}".format(*server.sockets[0].getsockname())
    public = PLATFORM_KEY.public_key()
    client = PlatformClient(url, keys.APP_ID, MERCHANT_KEY, public, "http://x/", HttpPoster(8, 10))
    try:
        yield client
    finally:
        await client.close()
        server.close()


def _whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def _paid(sent: Body, key: Any = PLATFORM_KEY, **other: str) -> bytes:
    params = {
        "success": "true",
        "code": "1",
        "message": "done",
        "trade_status": "TRADE_SUCCESS",
        "trade_no": "5",
        "total_amount": "5000",
        "cashier_url": "http://x/cashier/t",
        "out_trade_no": sent["out_trade_no"],
        "request_id": sent["request_id"],
    }
    return _whole(json.dumps(signed(key, params | other)).encode())


IMPOSTORS: dict[str, Answer] = {
    "a foreign key": lambda sent: _paid(sent, FOREIGN_KEY),
    "the merchant's own key": lambda sent: _paid(sent, MERCHANT_KEY),
    "an answer to another request": lambda sent: _paid(sent, request_id="another"),
    "an answer about another trade": lambda sent: _paid(sent, out_trade_no="2"),
    "an answer without a number": lambda sent: _paid(sent, request_id=""),
    "an altered answer": lambda sent: _paid(sent).replace(b"5000", b"5001"),
    "an answer that is not signed": lambda _: _whole(b'{"success": "true", "code": "1"}'),
    "no JSON": lambda _: _whole(b"success"),
    "no object": lambda _: _whole(b"[]"),
    "numbers for texts": lambda _: _whole(b'{"sign": 1, "sign_type": 2}'),
    "nothing": lambda _: _whole(b""),
    "no HTTP": lambda _: b"hello\r\n\r\n",
    "half an answer": lambda sent: _paid(sent)[:-20],
    "a redirection": lambda _: b"HTTP/1.1 302 x\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("how", IMPOSTORS)
def test_only_the_platforms_own_answer_to_this_request_is_believed(how: str) -> None:
    """Anything else is as if no answer had come: unknown, with the order named."""

    async def scenario() -> None:
        async with impostor(_paid) as client:
            assert (await client.query_trade(ASK)).success  # what the impostor imitates
        async with impostor(IMPOSTORS[how]) as client:
            with pytest.raises(Unknown, match="order 101"):
                await client.query_trade(ASK)

    asyncio.run(scenario())


def test_no_answer_in_time_is_unknown() -> None:
    """Nobody there, or one who does not answer: unknown, within the client's time."""

    async def scenario() -> None:
        public = PLATFORM_KEY.public_key()
        silent = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        for url in ("http://127.0.0.1:9", f"http://127.0.0.1:{port}"):
            client = PlatformClient(
                url, keys.APP_ID, MERCHANT_KEY, public, "http://x/", HttpPoster(8, 0.2)
            )
            with pytest.raises(Unknown, match="order 101"):
                await client.query_trade(ASK)
            await client.close()
        silent.close()

    asyncio.run(scenario())
