"""Bad input of every kind: 4xx, a `Result` that names the field and the reason, nothing changed."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.lab import Lab
from tests.support.history import Answered, History, read

IDS = ("user_id", "goods_id", "coupon_id")
FIGURES = ("goods_number", "goods_price", "shipping_fee", "order_amount", "money_paid")
TEXTS = ("address", "consignee")
NO_WHOLE = (
    "true",
    "1.5",
    "1.0",
    "1e3",
    '"abc"',
    '""',
    '"1.0"',
    "[1]",
    "{}",
    '"１"',
    '"+1"',
    '" 1"',
)
NO_TEXT = ("7", "true", '["x"]', "{}", "1.5")
WHOLE, RANGE, STRING = "valid integer", "than or equal", "valid string"

# field, its value as JSON, the reason that the message must give
FIELDS = [
    *((field, value, WHOLE) for field in IDS for value in NO_WHOLE),
    *(
        (field, value, RANGE)
        for field in IDS
        for value in ("0", "-1", '"0"', str(2**63), f'"{2**63}"', str(10**40))
    ),
    *((field, value, WHOLE) for field in IDS for value in (f'"{10**20}"', '"-1"', '"1_0"', '"٣"')),
    *((field, value, WHOLE) for field in FIGURES for value in (*NO_WHOLE, '"1"')),
    *((field, value, RANGE) for field in FIGURES for value in (str(2**63), str(-(2**63)))),
    *((field, value, STRING) for field in TEXTS for value in NO_TEXT),
    *((field, value, "blank") for field in TEXTS for value in ('""', '"  "', '"\\u3000"')),
    *(
        (field, value, "control characters")
        for field in TEXTS
        for value in ('"a\\u0000"', '"a\\n"', '"\\u001b[1m"', '"a\\u007f"', '"\\u0085a"')
    ),
    *(
        (field, value, "broken Unicode")
        for field in TEXTS
        for value in ('"\\ud800"', '"a\\udfff"', '"\\ude00\\ud83d"')
    ),
    ("address", json.dumps("x" * 256), "at most 255"),
    ("address", json.dumps("华" * 256), "255"),
    ("consignee", json.dumps("x" * 65), "at most 64"),
    *((field, "null", "valid") for field in (IDS[0], IDS[1], *FIGURES, *TEXTS)),
    ("surprise", "1", "not permitted"),
    ("User_id", "1", "not permitted"),
    ("order_id", "1", "not permitted"),
    ("", "1", "not permitted"),
]

# a whole body, the reason that the message must give
BODIES = [
    (b"", "not JSON"),
    (b"   ", "not JSON"),
    (b"{", "not JSON"),
    (b"{}}", "not JSON"),
    (b"{'user_id': 1}", "not JSON"),
    (b'{"user_id": 1,}', "not JSON"),
    (b"\xff\xfe", "not JSON"),
    (b'{"a": "\xff"}', "not JSON"),
    (b"user_id=1&goods_id=2", "not JSON"),
    (b'{"user_id": NaN}', "NaN"),
    (b'{"user_id": Infinity}', "Infinity"),
    (b'{"money_paid": -Infinity}', "-Infinity"),
    (b'{"money_paid": 01}', "not JSON"),
    (b'{"user_id": ' + b"9" * 5000 + b"}", "not JSON"),
    (b"[" * 60_000, "not JSON"),
    (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "not JSON"),
    (b"null", "must be a JSON object"),
    (b"[]", "must be a JSON object"),
    (b"[{}]", "must be a JSON object"),
    (b"7", "must be a JSON object"),
    (b'"text"', "must be a JSON object"),
    (b"true", "must be a JSON object"),
    (b'{"user_id": 1, "user_id": 1}', "'user_id' is repeated"),
    (b'{"a": {"b": 1, "b": 2}}', "'b' is repeated"),
    (b'{"a": "' + b"x" * 65_536 + b'"}', "longer than 65536 bytes"),
    (b" " * 1_000_000, "longer than 65536 bytes"),
    (b"{}", "user_id: Field required"),
]


class Shop(History):
    """A shop with one order in it, and what its tables held then."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab.home.folder)
        assert self.place(key="k").placed
        self.before = self.tables.everything()

    def refuses(self, method: str, path: str, status: int = 400, **sent: Any) -> str:
        """Send what must be refused, see that no table changed, and return the message."""
        response = self.http.request(method, path, **sent)
        answered = read(Answered({}, None), response)
        assert (answered.status, answered.code) == (status, -1), answered
        assert self.tables.everything() == self.before
        return answered.message


@pytest.fixture(scope="module")
def shop(running_lab: Lab) -> Iterator[Shop]:
    """One shop for all of this file; afterwards no process has logged an error."""
    running_lab.reset()
    logs = running_lab.home.logs
    begins = {log.name: log.stat().st_size for log in logs.glob("*.log")}
    yield Shop(running_lab)
    for log in logs.glob("*.log"):
        text = log.read_bytes()[begins.get(log.name, 0) :].decode(errors="replace")
        assert "ERROR" not in text, f"{log.name}: {text}"
        assert "Traceback" not in text, f"{log.name}: {text}"


@pytest.mark.parametrize(("field", "value", "reason"), FIELDS)
def test_a_bad_field_is_named_with_its_reason(
    shop: Shop, field: str, value: str, reason: str
) -> None:
    """Wrong type, out of range, blank, overlong, broken, unknown: field and reason are told."""
    body = json.dumps({**shop.body(), field: "HERE"}).replace('"HERE"', value)
    message = shop.refuses("POST", "/order/confirm", content=body)
    assert message.startswith(f"{field or 'body'}: "), message
    assert reason in message
    assert len(message) < 500  # what was sent is not echoed at length


@pytest.mark.parametrize("field", [*IDS[:2], *FIGURES, *TEXTS])
def test_a_missing_field_is_named(shop: Shop, field: str) -> None:
    """Every field but the coupon is required."""
    body = shop.body()
    del body[field]
    assert shop.refuses("POST", "/order/confirm", json=body) == f"{field}: Field required"


@pytest.mark.parametrize(("body", "reason"), BODIES)
def test_a_bad_body_is_refused_with_its_reason(shop: Shop, body: bytes, reason: str) -> None:
    """No JSON, no object, a repeated field, too deep, too long: of an order and of a cancel."""
    for path in ("/order/confirm", "/order/7/cancel", "/order/7/return"):
        assert reason in shop.refuses("POST", path, content=body)


@pytest.mark.parametrize(
    "order_id",
    [
        "0",
        "-1",
        "abc",
        "1.5",
        "9" * 20,
        f"{2**63}",
        "%00",
        "٣",
        "1%20",
        "+1",
        "0x1",
        "%2e%2e",
        "confirm",
    ],
)
def test_a_bad_order_id_in_a_path_is_named(shop: Shop, order_id: str) -> None:
    """To find, cancel and return: the id must be a whole number from 1 to 2^63 - 1."""
    user = {"user_id": shop.answers[0].body["user_id"]}
    requests: list[tuple[str, str, Any]] = [
        ("GET", f"/order/{order_id}", None),
        ("POST", f"/order/{order_id}/cancel", user),
        ("POST", f"/order/{order_id}/return", user),
    ]
    for method, path, body in requests:
        assert shop.refuses(method, path, json=body).startswith("order_id: must be a whole number")


@pytest.mark.parametrize("field", ["user_id", "surprise"])
def test_cancel_and_return_know_their_fields(shop: Shop, field: str) -> None:
    """A cancel or a return names the user, and nothing else."""
    body = {"user_id": "x"} if field == "user_id" else {"user_id": 1, field: 1}
    for verb in ("cancel", "return"):
        assert shop.refuses("POST", f"/order/7/{verb}", json=body).startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/order", 404),
        ("POST", "/orders/confirm", 404),
        ("POST", "/order/confirm/", 404),
        ("GET", "/order/1/", 404),
        ("GET", "/docs", 404),
        ("POST", "/order/1/refund", 404),
        ("PUT", "/order/confirm", 405),
        ("POST", "/order/1", 405),
        ("DELETE", "/order/1", 405),
        ("GET", "/order/1/cancel", 405),
        ("PATCH", "/order/1", 405),
        ("OPTIONS", "/order/confirm", 405),
    ],
)
def test_a_wrong_path_or_method_is_a_result_too(
    shop: Shop, method: str, path: str, status: int
) -> None:
    """404 and 405 carry a `Result` like everything else; nothing is redirected."""
    assert shop.refuses(method, path, status)


def test_query_parameters_are_refused(shop: Shop) -> None:
    """Nothing here takes any, so that a figure in the address is not ignored in silence."""
    order_id = shop.answers[0].order_id
    for method, path in (
        ("POST", "/order/confirm"),
        ("GET", f"/order/{order_id}"),
        ("POST", f"/order/{order_id}/cancel"),
        ("POST", f"/order/{order_id}/return"),
    ):
        message = shop.refuses(method, f"{path}?user_id=1")
        assert message == "user_id=1: query parameters are not taken here"


@pytest.mark.parametrize(
    "keys",
    [[b""], [b"x" * 129], [b"k", b"k"], [b"k", b"other"], ["键".encode()], [b"a\tb"], [b"\xff"]],
)
def test_a_bad_idempotency_key_is_refused(shop: Shop, keys: list[bytes]) -> None:
    """Empty, too long, sent twice, or not plain text: the header is named."""
    headers = [(b"Idempotency-Key", key) for key in keys]
    message = shop.refuses("POST", "/order/confirm", json=shop.body(), headers=headers)
    assert message.startswith("Idempotency-Key: ")


def test_a_body_that_never_comes_is_given_up(shop: Shop) -> None:
    """A client that promises a body and sends none is answered 400 in time; it holds up nobody."""
    host, port = shop.http.base_url.host, shop.http.base_url.port
    with socket.create_connection((host, port or 80), timeout=10) as connection:
        connection.sendall(
            b"POST /order/confirm HTTP/1.1\r\nHost: shop\r\nContent-Length: 99\r\n\r\n{"
        )
        assert shop.http.get("/order/1").status_code == 404  # meanwhile others are served
        answer = connection.makefile("rb").readline()
    assert answer.startswith(b"HTTP/1.1 400")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=80)
    | st.from_regex(r"-?[0-9]{1,25}", fullmatch=True),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)
VISIBLE = [number for number in range(33, 256) if number != 127]  # others are no HTTP at all
HEADERS = st.none() | st.lists(st.sampled_from(VISIBLE), max_size=140).map(bytes)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from([*IDS, *FIGURES, *TEXTS, "x"]), JSON, min_size=1), HEADERS)
def test_no_body_whatever_makes_the_shop_fail(
    shop: Shop, wrong: dict[str, Any], key: bytes | None
) -> None:
    """Any JSON in any field, under any key: refused, never a 5xx, never a hang."""
    headers = [] if key is None else [(b"Idempotency-Key", key)]
    body = json.dumps({**shop.body(), "goods_price": 1, **wrong})
    response = shop.http.post("/order/confirm", content=body, headers=headers)
    assert read(Answered({}, None), response).status in (400, 409, 422), response.text


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.binary(max_size=200), st.sampled_from(["/order/confirm", "/order/7/cancel"]))
def test_no_bytes_whatever_make_the_shop_fail(shop: Shop, content: bytes, path: str) -> None:
    """Any bytes as a body: refused with 400."""
    response: httpx.Response = shop.http.post(path, content=content)
    assert read(Answered({}, None), response).status == 400


def test_after_all_that_the_one_order_stands(shop: Shop) -> None:
    """The shop is as it was: one order, and what clients were told is what the tables say."""
    assert shop.send(shop.answers[0].body, "k").order_id == shop.answers[0].order_id
    assert shop.check() == {200: 2}
