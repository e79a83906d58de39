"""Malformed requests: each is a 400 that names the field and the reason, and reaches no service."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.results import Result
from labkit.shop import messages as m
from labkit.shop.codes import Code
from labkit.web.orders import order_web

INT64 = 2**63 - 1
GOOD: dict[str, Any] = {
    "user_id": 1,
    "goods_id": 1,
    "goods_number": 1,
    "goods_price": 1,
    "shipping_fee": 0,
    "order_amount": 1,
    "money_paid": 0,
    "coupon_id": None,
    "address": "成都",
    "consignee": "刘备",
}


class Orders:
    """The order service behind the web: keeps what reaches it, and refuses it."""

    def __init__(self) -> None:
        self.reached: list[Any] = []

    async def open_order(self, command: m.OpenOrder) -> Result[m.Opening]:
        """Refuse, so that nothing further is asked."""
        self.reached.append(command)
        return Result[m.Opening].refused(Code.IDEMPOTENCY_KEY_REUSED, "reached")

    find_order = cancel_by_user = return_order = open_order


def send(orders: Orders, method: str, path: str, **how: Any) -> httpx.Response:
    """One request to the real application, without a network in between."""

    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(order_web(orders, 10), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://web") as client:
            return await client.request(method, path, **how)

    return asyncio.run(main())


def refused(response: httpx.Response, *words: str, status: int = 400) -> None:
    """The answer is a `Result` of this status whose message has these words."""
    assert response.status_code == status, response.text
    result = Result[None].model_validate_json(response.text)
    assert (result.success, result.code) == (False, Code.BAD_REQUEST)
    assert all(word in result.message for word in words), result.message
    assert len(response.text) < 2000


def place(body: Any, **how: Any) -> httpx.Response:
    """Send a body to POST /order/confirm, where it must reach nobody."""
    orders = Orders()
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = send(orders, "POST", "/order/confirm", content=content, **how)
    assert orders.reached == []
    return response


def test_a_good_request_reaches_the_order_service() -> None:
    """Ids may be numbers or strings, of 64 bits; both mean the same request."""
    orders = Orders()
    for user_id in (INT64, str(INT64)):
        response = send(orders, "POST", "/order/confirm", json=GOOD | {"user_id": user_id})
        assert response.status_code == 409
    first, second = orders.reached
    assert first.user_id == second.user_id == INT64
    assert first.request_hash == second.request_hash


@pytest.mark.parametrize("field", [field for field in GOOD if field != "coupon_id"])
def test_a_missing_field_is_named(field: str) -> None:
    """Each field but the coupon is required."""
    refused(place({name: value for name, value in GOOD.items() if name != field}), field)


IDS, AMOUNTS = ("user_id", "goods_id", "coupon_id"), ("goods_number", "order_amount", "money_paid")
WRONG = [
    *(
        (field, value)
        for field in IDS
        for value in (0, -1, INT64 + 1, 1.0, True, "", "1.0", "-1", " 1", "1e3", "٣", "x", [1], {})
    ),
    *(
        (field, value)
        for field in AMOUNTS
        for value in (INT64 + 1, -INT64 - 2, 1.5, True, "1", None, [], 10**400)
    ),
    *(
        (field, value)
        for field in ("address", "consignee")
        for value in ("", "  ", "x" * 256, "a\x00b", "a\nb", "\ud800", 1, None, [])
    ),
]


@pytest.mark.parametrize(("field", "value"), WRONG, ids=lambda value: repr(value)[:20])
def test_a_wrong_value_is_refused_by_name(field: str, value: Any) -> None:
    """Wrong type, out of range, blank, overlong or broken text: the message names the field."""
    refused(place(GOOD | {field: value}), field)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "must be a JSON object"),
        (b"1", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"user_id": NaN}', "NaN"),
        (b'{"user_id": Infinity}', "Infinity"),
        (b'{"user_id": 1, "user_id": 2}', "'user_id' is repeated"),
        (b'{"a": {"b": 1, "b": 2}}', "'b' is repeated"),
        (b"[" * 60_000, "not JSON"),
        (b"1" * 60_000, "not JSON"),
        (b" " * 70_000, "longer than"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_body_that_is_no_object_is_refused(body: bytes, words: str) -> None:
    """Not JSON, not an object, repeated fields, too deep, too long: the message says which."""
    refused(place(body), "body", words)


@pytest.mark.parametrize("name", ["tip", "x" * 5000, "\ud800", ""])
def test_an_unknown_field_is_refused(name: str) -> None:
    """A field that nobody asked for is refused, and not echoed at length."""
    refused(place(GOOD | {name: 1}))


@pytest.mark.parametrize("key", ["", "x" * 129, "ключ", "a\tb"])
def test_a_wrong_idempotency_key_is_refused(key: str) -> None:
    """Empty, too long or not plain ASCII: refused by name."""
    refused(place(GOOD, headers={"Idempotency-Key": key.encode()}), "Idempotency-Key")


def test_two_idempotency_keys_are_refused() -> None:
    """A request has one key."""
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    refused(place(GOOD, headers=headers), "Idempotency-Key", "more than once")


@pytest.mark.parametrize("order_id", ["0", "-1", "abc", "1.0", "1e3", str(INT64 + 1), "%00", "%ff"])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("POST", "/cancel"), ("POST", "/return")]
)
def test_an_order_id_that_is_none_is_refused(order_id: str, method: str, path: str) -> None:
    """In the path too, an id is a whole number from 1 to 2^63 - 1."""
    orders = Orders()
    refused(send(orders, method, f"/order/{order_id}{path}"), "order_id")
    assert orders.reached == []


def test_query_parameters_are_refused() -> None:
    """Nothing here takes any, so that a misplaced field is not lost in silence."""
    refused(place(GOOD, params={"user_id": 1}), "query parameters")
    refused(send(Orders(), "GET", "/order/1?x=1"), "query parameters")


def test_an_unknown_path_is_a_result_too() -> None:
    """404 and 405 have the same shape as every other answer."""
    refused(send(Orders(), "GET", "/nowhere"), status=404)
    refused(send(Orders(), "DELETE", "/order/1"), status=405)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(changed=st.dictionaries(st.sampled_from(sorted(GOOD)), json_values, min_size=1, max_size=3))
def test_any_body_is_answered(changed: dict[str, Any]) -> None:
    """Whatever stands in the fields, the answer is a `Result`: refused here, or passed on."""
    orders = Orders()
    body = json.dumps(GOOD | changed).encode()
    response = send(orders, "POST", "/order/confirm", content=body)
    Result[None].model_validate_json(response.text)
    assert response.status_code == (409 if orders.reached else 400)
