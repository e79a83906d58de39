"""The cashier's answers: the page for browsers, a `Result` for others, and one payment whatever."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from labkit.payment_api.trade_status import TradeStatus
from labkit.payment_platform.texts import WORDS
from labkit.shop.codes import Code
from tests.support.cashier_page import BROWSER, PageReader, press, result_of
from tests.support.cashier_server import Till


def test_a_button_answers_browsers_with_the_page(till: Till, http: httpx.Client) -> None:
    """303 to the page, whether it is the first press, the second, or the wrong one by now."""
    trade = till.opened()
    for button in ("pay", "pay", "give-up"):
        answered = press(http, till, trade, button, headers=BROWSER)
        assert answered.status_code == 303
        assert answered.headers["location"] == f"/cashier/{trade.token}"
    assert till.status(trade) == TradeStatus.TRADE_SUCCESS
    assert till.notice_count(trade) == 1


def test_a_button_answers_others_with_a_result(till: Till, http: httpx.Client) -> None:
    """200 as often as what was asked for holds, 409 where the other has happened."""
    paid, closed = till.opened(), till.opened()
    for trade, button, other, status in (
        (paid, "pay", "give-up", TradeStatus.TRADE_SUCCESS),
        (closed, "give-up", "pay", TradeStatus.TRADE_CLOSED),
    ):
        for _ in range(2):
            answered = press(http, till, trade, button)
            result = result_of(answered)
            assert (answered.status_code, result.success) == (200, True)
            assert result.data
            assert result.data.trade_status == status
        refused = press(http, till, trade, other)
        assert (refused.status_code, result_of(refused).success) == (409, False)
        assert (till.status(trade), till.notice_count(trade)) == (status, 1)


def test_a_trade_whose_time_is_over_is_not_paid(till: Till, http: httpx.Client) -> None:
    """Paying is refused with 409, and the trade is closed."""
    trade = till.expired()
    assert press(http, till, trade).status_code == 409
    assert till.status(trade) == TradeStatus.TRADE_CLOSED


def test_many_presses_at_once_pay_once(till: Till, http: httpx.Client) -> None:
    """Sixteen presses of both buttons: one of the two happened, once, and all agree."""
    trade = till.opened()
    with ThreadPoolExecutor(16) as hands:
        answers = hands.map(
            lambda n: press(http, till, trade, ("pay", "give-up")[n % 2]), range(16)
        )
        statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * 8 + [409] * 8
    assert till.notice_count(trade) == 1


@pytest.mark.parametrize("token", ["nobodys", "A" * 43, "x" * 5000, "%00", "'%20OR%201=1", "字"])
def test_an_unknown_token_is_not_found(till: Till, http: httpx.Client, token: str) -> None:
    """404: for a browser a page that says what to do, for others a `Result`."""
    page = http.get(f"{till.base}/cashier/{token}", headers={"Accept-Language": "zh"})
    assert page.status_code == 404
    assert WORDS["zh"]["unknown_text"] in page.text
    for button in ("pay", "give-up"):
        address = f"{till.base}/cashier/{token}/{button}"
        assert http.post(address, headers=BROWSER).status_code == 404
        answer = http.post(address)
        assert (answer.status_code, result_of(answer).code) == (404, Code.PAYMENT_NOT_FOUND)


WRONG = [("", "POST"), ("/pay", "GET"), ("/give-up", "GET")]
WRONG += [(part, method) for part, _ in WRONG for method in ("PUT", "PATCH", "DELETE", "OPTIONS")]


@pytest.mark.parametrize(("part", "method"), WRONG)
def test_other_methods_are_refused(till: Till, http: httpx.Client, part: str, method: str) -> None:
    """405 with what is allowed; a browser gets a page that leads to the right one."""
    trade = till.opened()
    refused = http.request(method, till.address(trade) + part)
    assert (refused.status_code, result_of(refused).code) == (405, Code.BAD_REQUEST)
    assert refused.headers["allow"] == ("POST" if part else "GET, HEAD")
    page = http.request(method, till.address(trade) + part, headers=BROWSER)
    assert page.status_code == 405
    assert f"/cashier/{trade.token}" in PageReader(page.text).values("a", "href")
    assert till.status(trade) == TradeStatus.WAIT_BUYER_PAY


FOREIGN = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://["},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "OURS", "Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize("button", ["pay", "give-up"])
def test_another_site_can_press_nothing(
    till: Till, http: httpx.Client, headers: dict[str, str], button: str
) -> None:
    """403, and the trade waits still, where a browser says that another site sent it."""
    trade = till.opened()
    headers = {name: value.replace("OURS", till.base) for name, value in headers.items()}
    refused = press(http, till, trade, button, headers=headers)
    assert (refused.status_code, result_of(refused).code) == (403, Code.BAD_REQUEST)
    page = press(http, till, trade, button, headers=headers | BROWSER | {"Accept-Language": "en"})
    assert page.status_code == 403
    assert WORDS["en"]["refused_title"] in PageReader(page.text).text("h1")
    assert till.status(trade) == TradeStatus.WAIT_BUYER_PAY


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "OURS"}, {"Origin": "null", "Sec-Fetch-Site": "same-origin"}],
    ids=["a tool", "an older browser", "a browser"],
)
def test_our_own_page_can(till: Till, http: httpx.Client, headers: dict[str, str]) -> None:
    """A request of our page is taken, and one of a tool that is no browser."""
    trade = till.opened()
    headers = {name: value.replace("OURS", till.base) for name, value in headers.items()}
    assert press(http, till, trade, headers=headers).status_code == 200


def test_a_body_changes_nothing(till: Till, http: httpx.Client) -> None:
    """A posted body is not looked at, and is refused where it is endless."""
    trade = till.opened()
    assert press(http, till, trade, content=b"x" * 100_000).status_code == 400
    assert till.status(trade) == TradeStatus.WAIT_BUYER_PAY
    posted = {"total_amount": "1", "token": "another", "lang": "zh"}
    assert press(http, till, trade, data=posted).status_code == 200
    assert till.status(trade) == TradeStatus.TRADE_SUCCESS


def test_a_database_that_is_away_is_said(till: Till, http: httpx.Client) -> None:
    """503 with Retry-After, for people and for programs; afterwards the trade waits as before."""
    trade = till.opened()
    with till.away():
        page = http.get(till.address(trade, "en"))
        answers = [page, *(press(http, till, trade, headers=how) for how in ({}, BROWSER))]
    assert [(answer.status_code, answer.headers["retry-after"]) for answer in answers] == [
        (503, "1")
    ] * 3
    assert result_of(answers[1]).code == Code.DEPENDENCY_AWAY
    assert WORDS["en"]["away_text"] in page.text
    assert till.status(trade) == TradeStatus.WAIT_BUYER_PAY


def test_a_payment_that_was_refused_can_be_made_again(till: Till, http: httpx.Client) -> None:
    """A fault before the commit is a 503; the next press pays."""
    trade = till.opened()
    till.faults.arm("platform.pay_trade.before_commit", "refuse")
    assert press(http, till, trade).status_code == 503
    assert till.status(trade) == TradeStatus.WAIT_BUYER_PAY
    assert press(http, till, trade).status_code == 200


def test_every_answer_is_guarded(till: Till, http: httpx.Client) -> None:
    """Nothing is stored, framed, sniffed, or loaded from elsewhere, and no address leaks."""
    trade = till.opened()
    address = till.address(trade)
    for answered in (
        http.get(address),
        http.head(address),
        http.get(f"{till.base}/cashier/nobodys"),
        http.put(address),
        http.post(f"{address}/pay", headers={"Origin": "null"}),
        http.post(f"{address}/pay", headers=BROWSER),
        http.post(f"{address}/give-up"),
    ):
        headers = answered.headers
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        policy = headers["content-security-policy"].split("; ")
        assert {"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} <= set(policy)
        assert "unsafe" not in headers["content-security-policy"]
