"""The platform's API: signed requests and signed answers, and nothing else is believed."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from labkit.payment_api import keys
from labkit.payment_api.signing import signed, verify
from labkit.runtime.errors import Unknown
from labkit.runtime.injection.failpoints import FailpointStore
from labkit.shop.codes import Code
from labkit.shop.pay.messages import AskTrade, RefundTrade
from labkit.waiting import wait_until_async
from labkit.web.platform_client import PlatformClient
from tests.support.platforming import (
    FOREIGN_KEY,
    MERCHANT_KEY,
    MINUTE,
    NOON,
    PLATFORM_KEY,
    Served,
    make_home,
    rows_at,
    served,
)

CREATE = {
    "out_trade_no": "1",
    "total_amount": "5000",
    "subject": "华为P30",
    "time_expire": (NOON + MINUTE).isoformat(),
    "notify_url": "http://127.0.0.1:9/callback",
}
REQUESTS = {
    "create": {**CREATE, "out_trade_no": "3"},
    "query": {"out_trade_no": "2"},  # which is over, so that asking would close it
    "close": {"out_trade_no": "1"},
    "refund": {"out_trade_no": "4", "out_request_no": "9", "refund_amount": "5000"},
}
ASK = AskTrade(order_id=101, pay_id=1)

Body = dict[str, str]


def proven(params: Body, key: Any = MERCHANT_KEY, app_id: str = keys.APP_ID) -> Body:
    """The parameters as the merchant sends them."""
    return signed(key, {"app_id": app_id, "request_id": "r1", **params})


def run(folder: Path, scenario: Callable[[Served], Coroutine[Any, Any, None]]) -> None:
    """Serve the platform and run a scenario on it."""

    async def whole() -> None:
        async with served(make_home(folder)) as platform:
            await scenario(platform)

    asyncio.run(whole())


async def post(platform: Served, method: str, body: Body | bytes) -> httpx.Response:
    """A request, as whoever likes sends it."""
    path = f"/api/trade/{method}"
    if isinstance(body, dict):
        return await platform.http.post(path, data=body)
    return await platform.http.post(path, content=body)


async def fill(platform: Served) -> None:
    """Trade 1 waits, 2 is over, 4 is paid: there is something that a request could change."""
    for number, minutes in ((1, 9), (2, 1), (4, 9)):
        in_time = {"time_expire": NOON + minutes * MINUTE}
        opened = await platform.client.create_trade(
            platform.asked(number).model_copy(update=in_time)
        )
    await platform.http.post(f"{opened.data.cashier_url}/pay")
    platform.clock.advance(MINUTE)


def bad(params: Body) -> dict[str, tuple[int, Body | bytes]]:
    """Requests that must change nothing: what is wrong → the status, and the body."""
    good = proven(params)
    last = list(params)[-1]
    text = httpx.Request("POST", "http://x", data=good).content
    return {
        "unsigned": (403, {"app_id": keys.APP_ID, "request_id": "r1", **params}),
        "foreign key": (403, proven(params, FOREIGN_KEY)),
        "the platform's own key": (403, proven(params, PLATFORM_KEY)),
        "another merchant": (403, proven(params, app_id="2026000100000002")),
        "no merchant": (403, signed(MERCHANT_KEY, {"request_id": "r1", **params})),
        "altered": (403, {**good, last: good[last] + "0"}),
        "added": (403, {**good, "more": "1"}),
        "dropped": (403, {name: value for name, value in good.items() if name != last}),
        "no sign_type": (403, {**good, "sign_type": ""}),
        "empty": (403, b""),
        "JSON": (403, json.dumps(good).encode()),
        "repeated": (400, text + f"&{last}={params[last]}".encode()),
        "no UTF-8": (400, text + b"&more=%ff"),
        "too long": (400, text + b"&more=" + b"x" * 20_000),
        "unknown parameter": (400, proven({**params, "more": "1"})),
        "no request_id": (400, signed(MERCHANT_KEY, {"app_id": keys.APP_ID, **params})),
        "number with a sign": (400, proven({**params, "out_trade_no": "+1"})),
        "number in other digits": (400, proven({**params, "out_trade_no": "١"})),
        "number of more than 64 bits": (400, proven({**params, "out_trade_no": str(2**63)})),
        "number that is none": (400, proven({**params, "out_trade_no": "0"})),
        "number missing": (400, proven({**params, "out_trade_no": ""})),
    }


@pytest.mark.parametrize("method", REQUESTS)
def test_what_the_merchant_has_not_signed_changes_no_row(
    tmp_path: Path, method: str, subtests: pytest.Subtests
) -> None:
    """Unsigned, foreign, altered, repeated, malformed: refused, told so, no row changed; the same
    request, signed and whole, does change one."""

    async def scenario(platform: Served) -> None:
        await fill(platform)
        await wait_until_async(lambda: not _untold(platform), "the notice of trade 4 was tried")
        before = rows_at(platform.home)
        for what, (status, body) in bad(REQUESTS[method]).items():
            with subtests.test(what):
                answer = await post(platform, method, body)
                assert answer.status_code == status, answer.text
                assert not answer.json()["success"]
                assert rows_at(platform.home) == before
        good = await post(platform, method, proven(REQUESTS[method]))
        assert good.status_code == 200, good.text
        assert rows_at(platform.home) != before

    run(tmp_path, scenario)


def _untold(platform: Served) -> list[Any]:
    return [row for row in rows_at(platform.home)["platform_notice"] if not row["tries"]]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("total_amount", "0"),
        ("total_amount", "-1"),
        ("total_amount", "1.5"),
        ("total_amount", "1e3"),
        ("total_amount", " 1"),
        ("subject", ""),
        ("subject", "x" * 256),
        ("time_expire", "tomorrow"),
        ("time_expire", "2026-01-01T12:00:00+08:00"),
        ("time_expire", "1767268800"),
        ("notify_url", "https://x/"),
        ("notify_url", "file:///x"),
        ("notify_url", "http://x/\r\nHost: y"),
        ("notify_url", "http://user@x/"),
    ],
)
def test_what_a_trade_cannot_have_is_refused(tmp_path: Path, name: str, value: str) -> None:
    """Amounts are whole cents above zero, times are business times, addresses plain HTTP; the
    refusal names the parameter."""

    async def scenario(platform: Served) -> None:
        answer = await post(platform, "create", proven({**CREATE, name: value}))
        assert (answer.status_code, name in answer.text) == (400, True)
        assert not any(rows_at(platform.home).values())

    run(tmp_path, scenario)


def test_every_answer_is_signed_and_names_its_request(tmp_path: Path) -> None:
    """An answer, a refusal too, bears the platform's signature over its own parameters, the
    request's number and the trade's."""

    async def scenario(platform: Served) -> None:
        for method, status in (("create", 200), ("query", 404), ("refund", 404)):
            answer = await post(platform, method, proven(REQUESTS[method]))
            params = answer.json()
            assert answer.status_code == status
            assert verify(PLATFORM_KEY.public_key(), params)
            assert (params["request_id"], params["out_trade_no"]) == (
                "r1",
                REQUESTS[method]["out_trade_no"],
            )
            assert "token" not in params

    run(tmp_path, scenario)


def test_nothing_else_is_served(tmp_path: Path) -> None:
    """Another path or method is refused with a `Result`; nothing shows documentation or keys."""

    async def scenario(platform: Served) -> None:
        for path, status in {
            "/": 404,
            "/docs": 404,
            "/openapi.json": 404,
            "/keys/platform.pem": 404,
            "/api/trade/create": 405,
            "/bill": 400,
            "/bill?day=2026-13-01": 400,
            "/bill?day=2026-01-01&day=2026-01-02": 400,
            "/bill?day=20260101": 400,
            "/bill?day=2026-01-01&x=1": 400,
            "/bill?a=1&b=2&c=3": 400,
            "/bill?day=2026-01-01": 200,
        }.items():
            answer = await platform.http.get(path)
            assert answer.status_code == status, path
            assert status == 200 or answer.json()["success"] is False

    run(tmp_path, scenario)


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
    client = PlatformClient(url, keys.APP_ID, MERCHANT_KEY, public, "http://x/", 10)
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
            client = PlatformClient(url, keys.APP_ID, MERCHANT_KEY, public, "http://x/", 0.2)
            with pytest.raises(Unknown, match="order 101"):
                await client.query_trade(ASK)
            await client.close()
        silent.close()

    asyncio.run(scenario())
