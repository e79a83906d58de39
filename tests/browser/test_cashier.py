"""A person at the cashier, in a real browser: whatever is pressed, and however often, pays once."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from labkit.payment_api.trade_status import TradeStatus
from labkit.payment_platform.texts import WORDS
from tests.browser.conftest import OpenPage
from tests.support.cashier_server import Till

pytestmark = pytest.mark.slow


def button(page: Page, name: str, language: str = "en") -> Locator:
    """A button, found as a screen reader names it."""
    return page.get_by_role("button", name=re.compile(f"^{WORDS[language][name]}"))


def says(page: Page, state: str, language: str = "en") -> None:
    """The page came to an end: its title, its heading, what it announces, and where it stands."""
    words = WORDS[language]
    heading = page.get_by_role("heading", name=words[f"{state}_title"], exact=True)
    expect(heading).to_be_focused()
    expect(page).to_have_title(re.compile(f"^{words[f'{state}_title']} "))
    expect(page.get_by_role("status")).to_contain_text(words[f"{state}_text"])
    expect(page.get_by_role("button")).to_have_count(0)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
@pytest.mark.parametrize("language", WORDS)
def test_paying(open_page: OpenPage, till: Till, language: str, scripts: bool) -> None:
    """One click, and the page says that it is paid; with and without JavaScript."""
    trade = till.opened(cents=123_45)
    page = open_page(
        till.address(trade), locale=WORDS[language]["tag"], java_script_enabled=scripts
    )
    expect(page.get_by_role("main")).to_contain_text("¥123.45")
    button(page, "pay", language).click()
    says(page, "paid", language)
    assert page.url == till.address(trade)
    assert (till.status(trade), till.notice_count(trade)) == (TradeStatus.TRADE_SUCCESS, 1)


@pytest.mark.parametrize("language", WORDS)
def test_giving_up(open_page: OpenPage, till: Till, language: str) -> None:
    """One click, and the page says that it is closed and no money was taken."""
    trade = till.opened()
    page = open_page(till.address(trade), locale=WORDS[language]["tag"])
    button(page, "give_up", language).click()
    says(page, "closed", language)
    assert (till.status(trade), till.notice_count(trade)) == (TradeStatus.TRADE_CLOSED, 1)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_double_click_pays_once(open_page: OpenPage, till: Till, scripts: bool) -> None:
    """Two clicks, also where the first answer is late; the page is the paid one, no error."""
    trade = till.opened()
    till.faults.arm("platform.pay_trade.after_commit", "delay:0.3")
    page = open_page(till.address(trade), java_script_enabled=scripts)
    button(page, "pay").dblclick(no_wait_after=True)
    says(page, "paid")
    assert (till.status(trade), till.notice_count(trade)) == (TradeStatus.TRADE_SUCCESS, 1)


def test_pay_and_give_up_pressed_together(open_page: OpenPage, till: Till) -> None:
    """The other button, pressed before the first has answered, sends nothing."""
    trade = till.opened()
    till.faults.arm("platform.pay_trade.after_commit", "delay:0.3")
    page = open_page(till.address(trade))
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    for place in [button(page, name).bounding_box() for name in ("pay", "give_up")]:
        assert place
        page.mouse.click(place["x"] + 20, place["y"] + 20)
    says(page, "paid")
    assert sent == ["POST", "GET"]


def test_reload_and_back(open_page: OpenPage, till: Till) -> None:
    """After paying, reloading looks again, and going back shows no payment that could be made."""
    trade = till.opened()
    page = open_page("about:blank")
    page.goto(till.address(trade))
    button(page, "pay").click()
    says(page, "paid")
    page.reload()
    says(page, "paid")
    page.go_back()
    if page.url != "about:blank":
        says(page, "paid")
    page.go_forward()
    says(page, "paid")
    assert till.notice_count(trade) == 1


@pytest.mark.parametrize(
    ("first", "second", "state"),
    [("pay", "pay", "paid"), ("pay", "give_up", "paid"), ("give_up", "pay", "closed")],
)
def test_two_tabs(open_page: OpenPage, till: Till, first: str, second: str, state: str) -> None:
    """A button in a tab that has not seen what another did shows that, and changes nothing."""
    trade = till.opened()
    page = open_page(till.address(trade))
    other = page.context.new_page()
    other.goto(till.address(trade))
    button(page, first).click()
    says(page, state)
    button(other, second).click()
    says(other, state)
    assert till.notice_count(trade) == 1


def test_a_page_that_stood_open_too_long(open_page: OpenPage, till: Till) -> None:
    """Pressing pay when the time is over says so, and takes no money."""
    trade = till.opened()
    page = open_page(till.address(trade))
    till.clock.advance(trade.time_expire - till.clock.now())
    button(page, "pay").click()
    says(page, "expired")
    assert till.status(trade) == TradeStatus.TRADE_CLOSED


def test_paying_after_an_outage(open_page: OpenPage, till: Till) -> None:
    """While the platform's database is away the page says so, and its link leads back to paying."""
    trade = till.opened()
    page = open_page(till.address(trade, "zh"))
    with till.away():
        button(page, "pay", "zh").click()
        says(page, "away", "zh")
    page.get_by_role("link", name=WORDS["zh"]["look_again"]).click()
    button(page, "pay", "zh").click()
    says(page, "paid", "zh")
    assert till.notice_count(trade) == 1


def test_the_language_is_kept(open_page: OpenPage, till: Till) -> None:
    """Switched by hand, the page stays in that language over the payment, and can be switched."""
    page = open_page(till.address(till.opened()))
    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.get_by_role("link", name="中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    button(page, "pay", "zh").click()
    says(page, "paid", "zh")
    page.get_by_role("link", name="English").click()
    says(page, "paid", "en")


def test_keys_alone(open_page: OpenPage, till: Till) -> None:
    """Tab reaches the languages and both buttons in the order of reading; Enter pays."""
    trade = till.opened()
    page = open_page(till.address(trade))
    for name in ("English", "中文", "Pay", "Give up"):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        expect(focused).to_contain_text(name)
        outline = focused.evaluate("one => getComputedStyle(one).outline")
        assert "solid 3px" in outline, f"{name}: its focus cannot be seen: {outline}"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    says(page, "paid")
    assert till.notice_count(trade) == 1


def test_another_site_cannot_press(open_page: OpenPage, till: Till) -> None:
    """A form of another site is refused, and the page that says so leads to the real one."""
    trade = till.opened()
    page = open_page()
    address = f"{till.address(trade)}/pay"
    page.goto(
        f"data:text/html,<form method=post action='{address}'><button>You won</button></form>"
    )
    page.get_by_role("button").click()
    says(page, "refused")
    assert till.status(trade) == TradeStatus.WAIT_BUYER_PAY
    page.get_by_role("link", name=WORDS["en"]["open"]).click()
    expect(button(page, "pay")).to_be_visible()
