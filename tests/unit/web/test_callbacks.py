"""Callbacks that lie: over the real pay web, the real flow and the pay database, none is believed.

Whatever is sent, it is answered with a plain word and never a 500, no row of any table changes, and
the genuine callback that comes afterwards succeeds, once.
"""

import asyncio
import base64
from collections.abc import Iterator
from types import SimpleNamespace
from urllib.parse import quote_plus, urlencode

import httpx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from labkit.payment_api import keys
from labkit.payment_api.signing import sign, signed
from labkit.shop.states import PaymentState
from tests.support.callbacks import FOREIGN, KEY, Payment
from tests.support.payworld import AMOUNT, PayWorld
from tests.support.store import OpenStore


@pytest.fixture
def world(open_store: OpenStore) -> Iterator[PayWorld]:
    """Shop and platform, with goods and money enough."""
    world = PayWorld(open_store, KEY)
    world.open_with(stock=10**6, balance=10**9)
    yield world
    world.close()


NAMES = (
    "app_id",
    "notify_id",
    "out_trade_no",
    "trade_no",
    "trade_status",
    "total_amount",
    "notify_time",
    "subject",
    "sign",
    "sign_type",
)
_text = st.text(st.characters(codec="utf-8"), max_size=12)


@given(data=st.data(), name=st.sampled_from(NAMES))
def test_an_altered_callback_is_not_believed(
    world: PayWorld, data: st.DataObject, name: str
) -> None:
    """Any parameter changed, removed or emptied after the signing: refused."""
    payment = Payment(world)
    value = data.draw(st.one_of(_text, st.just(payment.fields["trade_no"]), st.just("1")))
    assume(value != payment.fields[name])
    removed = {key: text for key, text in payment.fields.items() if key != name}
    payment.is_refused(data.draw(st.sampled_from([payment.fields | {name: value}, removed])))


@given(name=_text, value=_text.filter(bool))
def test_an_added_parameter_is_not_believed(world: PayWorld, name: str, value: str) -> None:
    """A parameter that was not signed with the rest is not taken with it."""
    payment = Payment(world)
    assume(name not in payment.fields)
    payment.is_refused(payment.fields | {name: value})


@given(data=st.data())
def test_a_repeated_parameter_is_not_believed(world: PayWorld, data: st.DataObject) -> None:
    """Twice the same name, also with the same value: nobody can say which one was signed."""
    payment = Payment(world)
    pairs = list(payment.fields.items())
    name, value = data.draw(st.sampled_from(pairs))
    again = (name, data.draw(st.sampled_from([value, "", "1"])))
    pairs.insert(data.draw(st.integers(0, len(pairs))), again)
    payment.is_refused(urlencode(pairs).encode())


@given(
    sign=st.one_of(st.binary(max_size=300).map(lambda raw: base64.b64encode(raw).decode()), _text)
)
def test_any_other_signature_is_not_believed(world: PayWorld, sign: str) -> None:
    """Random, empty, of another length, no base64."""
    payment = Payment(world)
    payment.is_refused(payment.fields | {"sign": sign})


@pytest.mark.parametrize(
    "spelling",
    ["foreign key", "merchant's request", "newline", "url-safe", "no sign_type", "RSA", "nothing"],
)
def test_a_forged_signature_is_not_believed(world: PayWorld, spelling: str) -> None:
    """Signed with another key, with the right one over other parameters, or spelled otherwise."""
    payment = Payment(world)
    fields, sign_ = payment.fields, payment.fields["sign"]
    forged = {
        "foreign key": lambda: signed(FOREIGN, fields),
        "merchant's request": lambda: fields | {"sign": sign(payment.world.key, {"app_id": "1"})},
        "newline": lambda: fields | {"sign": sign_[:60] + "\n" + sign_[60:]},
        "url-safe": lambda: fields | {"sign": sign_.translate(str.maketrans("+/=", "-_.")) + " "},
        "no sign_type": lambda: {key: fields[key] for key in fields if key != "sign_type"},
        "RSA": lambda: fields | {"sign_type": "RSA"},
        "nothing": lambda: {key: fields[key] for key in fields if not key.startswith("sign")},
    }[spelling]()
    payment.is_refused(forged)


@given(cents=st.integers(-(10**20), 10**20).filter(lambda cents: cents != AMOUNT))
def test_a_wrong_amount_is_not_believed(world: PayWorld, cents: int) -> None:
    """Though the platform itself has signed it: what was asked for is what is taken."""
    payment = Payment(world)
    payment.is_refused(payment.signed(total_amount=str(cents)))


@pytest.mark.parametrize(
    "amount", [f"0{AMOUNT}", "70.00", f"{AMOUNT}.0", f"{AMOUNT} ", f"+{AMOUNT}", "7e3", "７０００"]
)
def test_an_amount_is_a_number_of_cents(world: PayWorld, amount: str) -> None:
    """Yuan, fractions, and digits that only look like some are refused as what they are."""
    payment = Payment(world)
    payment.is_refused(payment.signed(total_amount=amount), status=(400,))


@pytest.mark.parametrize("status", ["trade_success", "TRADE_NOT_EXIST", "PAID", None])
def test_a_state_that_nobody_knows_is_not_believed(world: PayWorld, status: str | None) -> None:
    """It is no word of the platform's about a trade."""
    payment = Payment(world)
    payment.is_refused(payment.signed(trade_status=status), status=(400,))


def test_a_finished_trade_is_known_as_paid(world: PayWorld) -> None:
    """The platform says so of a paid trade in the end: that is no news, and answered `success`."""
    payment = Payment(world)
    payment.is_taken_once()
    before = world.stores["pay"].everything()
    answer = payment.post(urlencode(payment.signed(trade_status="TRADE_FINISHED")).encode())
    assert (answer.status_code, answer.text) == (200, "success")
    assert world.stores["pay"].everything() == before


@given(app_id=_text.filter(lambda text: text != keys.APP_ID))
def test_a_callback_for_another_merchant_is_not_believed(world: PayWorld, app_id: str) -> None:
    """The platform has many merchants, and signs for all of them with one key."""
    payment = Payment(world)
    assume("&" not in app_id)
    payment.is_refused(payment.signed(app_id=app_id))


@given(number=st.integers(1, 2**63 - 1))
def test_a_payment_that_nobody_knows_is_not_believed(world: PayWorld, number: int) -> None:
    """Signed and for us, but of no payment here: `fail`, so that the platform tells it again."""
    payment = Payment(world)
    assume(number != payment.pay_id)
    payment.is_refused(payment.signed(out_trade_no=str(number)), status=(404,))


@pytest.mark.parametrize("name", ["out_trade_no", "total_amount", "trade_no", "trade_status"])
@pytest.mark.parametrize("value", [None, "", "x", "1.5", "1e3", "9" * 5000, "-1", "0x10", "\u0663"])
def test_a_malformed_callback_is_not_believed(
    world: PayWorld, name: str, value: str | None
) -> None:
    """A parameter that is missing, empty or no number, though the platform has signed it."""
    payment = Payment(world)
    if name == "trade_no" and value:
        value = None  # any text may be the platform's number
    payment.is_refused(payment.signed(**{name: value}))


def test_a_callback_of_one_payment_does_not_pay_another(world: PayWorld) -> None:
    """The original let a payment for A mark B paid: the number is signed, and is what counts."""
    mine, other = Payment(world), Payment(world)
    mine.is_refused(mine.fields | {"out_trade_no": str(other.pay_id)})
    assert other.row()["is_paid"] == PaymentState.OPEN
    other.is_refused(other.signed(out_trade_no=str(mine.pay_id)), status=(422,))


@given(body=st.one_of(st.binary(max_size=300), _text.map(str.encode)))
def test_a_body_that_is_no_form_is_refused(world: PayWorld, body: bytes) -> None:
    """Random bytes are no callback, and no reason for a 500."""
    Payment(world).is_refused(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"&",
        b"=",
        b"a",
        b"{}",
        b"a=%ff",
        b"a=%00&sign=x",
        b"\xff=1",
        b"a=" + b"x" * 70_000,
        b"&".join(b"a%d=1" % number for number in range(100)),
        b"sign=%ED%A0%80&sign_type=RSA2",
    ],
    ids=lambda body: repr(body)[:20],
)
def test_a_broken_form_is_refused(world: PayWorld, body: bytes) -> None:
    """Empty, no pairs, no UTF-8, too long, too many parameters, half a surrogate."""
    Payment(world).is_refused(body)


def test_a_parameter_cannot_be_smuggled_into_another(world: PayWorld) -> None:
    """`{a: "1&total_amount=2"}` has the signed text of `{a: 1, total_amount: 2}`, and is not it."""
    payment = Payment(world)
    fields = dict(payment.fields)
    amount = fields.pop("total_amount")
    fields["subject"] += f"&total_amount={amount}"
    payment.is_refused(fields)


def test_query_parameters_are_refused(world: PayWorld) -> None:
    """A parameter in the address was never signed."""
    payment = Payment(world)
    before = payment.world.stores["pay"].everything()
    body = urlencode(payment.fields).encode()
    answer = payment.post(body, params={"trade_status": "TRADE_SUCCESS"})
    assert (answer.status_code, answer.text) == (400, "fail")
    assert payment.world.stores["pay"].everything() == before
    payment.is_taken_once()


def test_while_the_pay_service_is_away_the_platform_is_told_to_come_again(
    world: PayWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 `fail`; the flood of what nobody can verify is bounded as that of the refused is, and
    a second later callbacks are taken again."""
    now = SimpleNamespace(seconds=0.0)
    clock = SimpleNamespace(monotonic=lambda: now.seconds)
    monkeypatch.setattr("labkit.web.payments.time", clock)
    payment = Payment(world)
    payment.payments.away = True
    body = urlencode(payment.fields).encode()
    answers = [payment.post(body) for _ in range(300)]
    assert {answer.text for answer in answers} == {"fail"}
    assert [answer.status_code for answer in answers] == [503] * 200 + [429] * 100
    payment.payments.away = False
    now.seconds += 1
    payment.is_taken_once()


def test_refused_callbacks_are_bounded(world: PayWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 200 refused at once nobody is looked at any more, 429; each second 50 more are, and a
    genuine one among them is taken."""
    now = SimpleNamespace(seconds=0.0)
    clock = SimpleNamespace(monotonic=lambda: now.seconds)
    monkeypatch.setattr("labkit.web.payments.time", clock)
    payment = Payment(world)
    forged = urlencode(signed(FOREIGN, payment.fields)).encode()

    assert {payment.post(forged).status_code for _ in range(200)} == {422}
    answer = payment.post(urlencode(payment.fields).encode())
    assert (answer.status_code, answer.text) == (429, "fail")
    assert answer.headers["retry-after"]
    now.seconds += 1
    assert {payment.post(forged).status_code for _ in range(50)} == {422}
    assert payment.post(forged).status_code == 429
    now.seconds += 1
    payment.is_taken_once()


def test_percent_encoding_is_the_senders_choice(world: PayWorld) -> None:
    """However its parameters are spelled and ordered, the genuine callback is the genuine one."""
    payment = Payment(world)
    pairs = [
        f"{quote_plus(name)}={quote_plus(value, safe='')}"
        for name, value in sorted(payment.fields.items(), reverse=True)
    ]
    answer = payment.post("&".join(pairs).replace("+", "%20").encode())
    assert (answer.status_code, answer.text) == (200, "success")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_callback_is_posted(world: PayWorld, method: str) -> None:
    """Another method is refused, and never with a 500."""
    payment = Payment(world)

    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(payment.web, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://pay") as client:
            return await client.request(method, "/pay/callback")

    assert asyncio.run(main()).status_code in (400, 405)
