"""The pay web alone: what reaches the pay service, and how its answers look outside."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from labkit.results import Result
from labkit.runtime.errors import Unknown
from labkit.shop.codes import Code
from labkit.shop.pay import messages as p
from labkit.web.payments import pay_web

INT64 = 2**63 - 1
OPENED = p.PaymentOpened(pay_id=INT64, pay_amount=70_00, cashier_url="http://platform/cashier/x")


class Payments:
    """The pay service behind the web: keeps what reaches it, and answers what it is told to."""

    def __init__(self, answer: Result[p.PaymentOpened] | Unknown) -> None:
        self.answer, self.reached = answer, list[Any]()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def create_payment(self, command: p.CreatePayment) -> Result[p.PaymentOpened]:
        """Keep it, and answer when told to go on."""
        self.reached.append(command)
        await self.go_on.wait()
        if isinstance(self.answer, Unknown):
            raise self.answer
        return self.answer

    find_payment = create_payment


def send(payments: Payments, method: str, path: str, **how: Any) -> httpx.Response:
    """One request to the real application, without a network in between."""

    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(pay_web(payments, 2), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://web") as client:
            return await client.request(method, path, **how)

    return asyncio.run(main())


@pytest.mark.parametrize("order_id", [INT64, str(INT64)])
def test_a_payment_is_opened(order_id: Any) -> None:
    """Ids come as numbers or strings and leave as strings; amounts are numbers."""
    payments = Payments(Result[p.PaymentOpened].ok(OPENED))
    answer = send(payments, "POST", "/pay/createPayment", json={"order_id": order_id})
    assert answer.status_code == 200
    assert payments.reached == [p.CreatePayment(order_id=INT64)]
    assert answer.json()["data"] == {
        "pay_id": str(INT64),
        "pay_amount": 70_00,
        "cashier_url": OPENED.cashier_url,
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"order_id": 0}',
        b'{"order_id": "x"}',
        b'{"order_id": 1.5}',
        b'{"order_id": 9223372036854775808}',
        b'{"order_id": 1, "order_id": 2}',
        b'{"order_id": 1, "pay_amount": 1}',
        b'{"order_id": 1, "user_id": 1}',
        b"x" * 70_000,
    ],
    ids=lambda body: repr(body)[:30],
)
def test_a_malformed_request_reaches_nobody(body: bytes) -> None:
    """400 with a word why; what is to be paid is never the client's to say."""
    payments = Payments(Result[p.PaymentOpened].ok(OPENED))
    answer = send(payments, "POST", "/pay/createPayment", content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, Code.BAD_REQUEST)
    assert payments.reached == []


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (Code.ORDER_NOT_FOUND, 404),
        (Code.PAYMENT_NOT_FOUND, 404),
        (Code.PAYMENT_ALREADY_PAID, 409),
        (Code.ORDER_NOT_PAYABLE, 409),
        (Code.PAYMENT_ERROR, 422),
        (Code.DEPENDENCY_AWAY, 503),
    ],
)
def test_a_refusal_has_its_status(code: Code, status: int) -> None:
    """Each code has one HTTP status, and the body is the refusal itself."""
    payments = Payments(Result[p.PaymentOpened].refused(code, "a reason"))
    answer = send(payments, "POST", "/pay/createPayment", json={"order_id": 1})
    assert (answer.status_code, json.loads(answer.text)["name"]) == (status, code.name)
    assert ("retry-after" in answer.headers) == (status == 503)


def test_an_unknown_end_is_told_as_such() -> None:
    """Where the pay service gave no answer in time: 503, and the same may be asked again."""
    answer = send(
        Payments(Unknown("no answer")), "POST", "/pay/createPayment", json={"order_id": 1}
    )
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize("number", ["0", "x", "1.0", str(INT64 + 1), "-1", "callback"])
def test_a_payment_is_asked_for_by_its_number(number: str) -> None:
    """Anything but a whole number is 400 and reaches nobody."""
    payments = Payments(Result[p.PaymentOpened].refused(Code.PAYMENT_NOT_FOUND, "no"))
    assert send(payments, "GET", f"/pay/{number}").status_code == 400
    assert payments.reached == []
    assert send(payments, "GET", "/pay/1").status_code == 404


def test_too_many_at_once_are_told_to_come_again() -> None:
    """Beyond the limit nothing reaches the pay service: 503, and a callback 429 `fail`."""
    payments = Payments(Result[p.PaymentOpened].ok(OPENED))

    async def main() -> list[httpx.Response]:
        payments.go_on.clear()
        transport = httpx.ASGITransport(pay_web(payments, 2))
        async with httpx.AsyncClient(transport=transport, base_url="http://web") as client:
            path, body = "/pay/createPayment", {"order_id": 1}
            waiting = [asyncio.create_task(client.post(path, json=body)) for _ in range(2)]
            while len(payments.reached) < 2:
                await asyncio.sleep(0)
            refused = [
                await client.post(path, json=body),
                await client.post("/pay/callback", data={"a": "b"}),
            ]
            payments.go_on.set()
            return [*refused, *await asyncio.gather(*waiting)]

    create, callback, *served = asyncio.run(main())
    assert create.status_code == 503
    assert (callback.status_code, callback.text) == (429, "fail")
    assert [answer.status_code for answer in served] == [200, 200]
    assert len(payments.reached) == 2
