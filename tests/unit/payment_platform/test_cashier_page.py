"""The cashier's page: what is bought, how it ended, in two languages, and text as it is."""

import re
from collections.abc import Callable

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labkit.payment_platform.messages import CashierTrade
from labkit.payment_platform.texts import WORDS, choose_language, yuan
from tests.support.cashier_page import BROWSER, PageReader
from tests.support.cashier_server import Till

LANGUAGES = {"en": "en", "zh": "zh-CN"}


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
