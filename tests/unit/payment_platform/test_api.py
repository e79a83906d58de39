"""The platform's API: signed requests and signed answers, and nothing else is believed."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest

from labkit.payment_api import keys
from labkit.payment_api.signing import signed, verify
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
from tests.support.waiting import wait_until_async

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
