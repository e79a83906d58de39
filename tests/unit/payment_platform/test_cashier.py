"""The cashier's answers: the page for browsers, a `Result` for others, and one payment whatever."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labkit.payment_api.trade_status import TradeStatus
from labkit.payment_platform.messages import CashierTrade
from labkit.payment_platform.texts import WORDS, choose_language, yuan
from labkit.results import Result
from labkit.shop.codes import Code
from tests.support.cashier_server import Till

BROWSER = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
LANGUAGES = {"en": "en", "zh": "zh-CN"}


@pytest.fixture(scope="module")
def till(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Till]:
    """A cashier on a real socket, for all tests of this file."""
    till = Till(tmp_path_factory.mktemp("till"))
    yield till
    till.close()


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    """A client that follows nothing and remembers nothing."""
    with httpx.Client(timeout=20, trust_env=False) as client:
        yield client


class PageReader(HTMLParser):
    """A page as a browser reads it: its elements, and the text of each."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.texts.append("")

    def handle_data(self, data: str) -> None:
        if self.texts:
            self.texts[-1] += data

    def text(self, tag: str) -> list[str]:
        """The texts of all elements of a kind."""
        pairs = zip(self.elements, self.texts, strict=True)
        return [text.strip() for (name, _), text in pairs if name == tag]

    def values(self, tag: str, attribute: str) -> list[str | None]:
        """An attribute of all elements of a kind."""
        return [has[attribute] for name, has in self.elements if name == tag and attribute in has]


def press(
    http: httpx.Client, till: Till, trade: CashierTrade, button: str = "pay", **how: Any
) -> httpx.Response:
    """Press a button, as a browser where `headers=BROWSER`."""
    return http.post(f"{till.address(trade)}/{button}", **how)


def result_of(response: httpx.Response) -> Result[CashierTrade]:
    """The `Result` that is the answer."""
    assert response.headers["content-type"] == "application/json"
    return Result[CashierTrade].model_validate_json(response.text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_shows_what_is_bought(till: Till, http: httpx.Client, language: str) -> None:
    """What, from whom, how much, which order, until when; in the language asked for."""
    trade = till.opened(subject="华为P30 × 2", cents=4_080_05)
    response = http.get(till.address(trade, language))
    page, words = PageReader(response.text), WORDS[language]
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert page.values("html", "lang") == [LANGUAGES[language]]
    assert page.text("title")[0].startswith(words["waiting_title"])
    assert page.text("h1") == [words["waiting_title"]]
    assert page.text("dd")[:3] == ["华为P30 × 2", words["merchant_name"], trade.out_trade_no]
    assert page.values("time", "datetime") == [trade.time_expire.isoformat() + "Z"]
    assert page.text("button") == [f"{words['pay']} ¥4080.05", words["give_up"]]
    assert "¥4080.05" in response.text


@pytest.mark.parametrize("state", ["paid", "closed", "expired"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_says_how_it_ended(
    till: Till, http: httpx.Client, state: str, language: str
) -> None:
    """Paid, closed or expired: the title and the heading say so, and there is nothing to press."""
    made: Callable[[], CashierTrade] = getattr(till, state)
    response = http.get(till.address(made(), language))
    page, words = PageReader(response.text), WORDS[language]
    assert response.status_code == 200
    assert page.text("title")[0].startswith(words[f"{state}_title"])
    assert page.text("h1") == [words[f"{state}_title"]]
    assert words[f"{state}_text"] in response.text
    assert page.text("button") == []


def test_the_languages_have_the_same_words() -> None:
    """No text is missing in one of them."""
    names = [set(words) for words in WORDS.values()]
    assert names[0] == names[1]
    assert all(text.strip() for words in WORDS.values() for text in words.values())


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-GB,zh;q=0.5", "en"),
        ("ZH-Hant", "zh"),
        ("de,fr;q=0.9", "en"),
        ("de,zh;q=0.3", "zh"),
        ("en;q=0.2, zh;q=0.9", "zh"),
        ("*", "en"),
        ("zh;q=0", "en"),
        ("zh;q=many,;;=,en", "en"),
        ("zh;q=nan", "en"),
    ],
)
def test_the_browser_says_which_language(accepted: str, language: str) -> None:
    """By its Accept-Language header, however odd; English where it wants neither."""
    assert choose_language(accepted) == language


def test_a_choice_by_hand_outlives_the_button(till: Till, http: httpx.Client) -> None:
    """`?lang=` beats the browser's language and is kept over the POST; a foreign one is not."""
    trade, english = till.opened(), {"Accept-Language": "en"}
    page = PageReader(http.get(till.address(trade, "zh"), headers=english).text)
    assert page.values("html", "lang") == ["zh-CN"]
    for action in page.values("form", "action"):
        answered = http.post(f"{till.base}{action}", headers=BROWSER | english)
        assert answered.headers["location"] == f"/cashier/{trade.token}?lang=zh"
    odd = http.get(f"{till.address(trade)}?lang=%22%3E%3Cb%3E&lang=xx", headers=english)
    assert PageReader(odd.text).values("html", "lang") == ["en"]
    assert "<b>" not in odd.text


@given(st.integers(1, 2**63 - 1))
@example(1)
@example(88_00)
def test_yuan_are_whole_cents(cents: int) -> None:
    """The amount on the page is the amount to the cent, two digits behind the point."""
    written = yuan(cents)
    assert re.fullmatch(r"¥\d+\.\d\d", written)
    assert int(written[1:].replace(".", "")) == cents


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


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1))
@example("<script>alert(1)</script>")
@example("\"'><img src=x onerror=alert(1)>")
@example("{{ 7 * 7 }}{% raw %} &lt;b&gt;")
@example("字" * 10_000)
def test_what_is_bought_is_only_text(till: Till, http: httpx.Client, subject: str) -> None:
    """Whatever the merchant calls it, the page has the same elements, and shows it as it is."""
    plain = PageReader(http.get(till.address(till.opened("plain"), "en")).text)
    page = PageReader(http.get(till.address(till.opened(subject), "en")).text)
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert page.text("dd")[0] == subject.strip()


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
