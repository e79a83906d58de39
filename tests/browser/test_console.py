"""The operator console in a real browser: who gets in, what is shown, what stays under the hand."""

import time
from collections.abc import Iterator

import pytest
from axe_playwright_python.base import AxeResults
from playwright.sync_api import Locator, Page, expect

from labkit.console.words import WORDS
from tests.browser.conftest import OpenPage
from tests.browser.test_cashier_for_all import AXE, CHECK, DESK, PHONE
from tests.support.console import TOKEN, Console

pytestmark = pytest.mark.slow

HOSTILE = (
    "</p><script>window.hit=1</script><img src=x onerror='window.hit=1'>\"'&{{7*7}}" + "W" * 300
)
BOXES = """[...document.querySelectorAll("button, nav a, .button")]
    .map(one => one.getBoundingClientRect().toJSON())"""
SEEN_SECONDS = 2.0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """One console for the file."""
    console = Console(tmp_path_factory.mktemp("console"))
    yield console
    console.close()


@pytest.fixture
def console(served: Console) -> Console:
    """It, with nothing stuck."""
    served.clear()
    served.say()
    return served


def item(page: Page, id: str) -> Locator:
    """Return what the page shows of one stuck item."""
    return page.locator(f"[id='stuck-{id}']")


def test_the_token_opens_it_and_leaves_the_address(open_page: OpenPage, console: Console) -> None:
    """Nor is it in the history; and a browser that was let in needs it no more."""
    page = open_page("about:blank")
    page.goto(console.address)
    expect(page.get_by_role("heading", level=1)).to_contain_text(WORDS["en"]["well"])
    assert page.url == f"{console.base}/"
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert page.evaluate("document.cookie") == ""
    page.go_back()
    assert TOKEN not in page.url
    page.goto(console.base)
    expect(page.locator("#services")).to_be_visible()


def test_a_link_on_another_site_opens_it(open_page: OpenPage, console: Console) -> None:
    """As from JupyterLab under another name: though the cookie is strict, one click is enough."""
    page = open_page()
    page.route(
        "http://lab.example/",
        lambda route: route.fulfill(
            content_type="text/html", body=f'<a href="{console.address}">the console</a>'
        ),
    )
    page.goto("http://lab.example/")
    page.get_by_role("link").click()
    expect(page.locator("#services")).to_be_visible()
    assert page.url == f"{console.base}/"


@pytest.mark.parametrize("address", ["/", "/?token=wrong", f"/?token={TOKEN[1:]}", "/trace/1"])
def test_without_the_token_it_says_where_it_is(
    open_page: OpenPage, console: Console, address: str
) -> None:
    """Another user of the machine sees nothing of the lab, and reads what to do."""
    console.stick(7, "secret cause")
    page = open_page(console.base + address)
    heading = page.get_by_role("heading", name=WORDS["en"]["refused_title"])
    expect(heading).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("labkit status")
    expect(page.get_by_role("main")).not_to_contain_text("secret cause")
    assert page.context.cookies() == []


def test_another_site_cannot_press(open_page: OpenPage, console: Console) -> None:
    """A form of another site, with the right fields, in a browser that is let in: refused."""
    console.stick(7, "a cause")
    page = open_page(console.address)
    expect(item(page, "goods.7")).to_be_visible()
    body = f"""<form method="post" action="{console.base}/give-up/goods.7">
        <input name="csrf" value="{console.guard.csrf}"><button>You won</button></form>"""
    page.route(
        "http://evil.example/", lambda route: route.fulfill(content_type="text/html", body=body)
    )
    page.goto("http://evil.example/")
    page.get_by_role("button").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_role("main")).not_to_contain_text("a cause")
    page.goto(console.base)
    expect(page.locator("#outcome")).not_to_contain_text("goods gave no answer")
    expect(item(page, "goods.7")).to_contain_text("a cause")


def test_hostile_text_is_text(open_page: OpenPage, console: Console) -> None:
    """Markup in a cause or a topic is shown as it is, refreshed too, and nothing of it runs."""
    page = open_page(console.address)
    expect(page.locator("#stuck")).to_contain_text(WORDS["en"]["stuck_none"])
    console.stick(7, HOSTILE, topic="<b onmouseover=alert(1)>", msg_key="<i>")
    cause = item(page, "goods.7").locator(".cause")
    expect(cause).to_contain_text(HOSTILE[:100])
    page.reload()
    expect(cause).to_contain_text(HOSTILE[:100])
    expect(item(page, "goods.7").get_by_role("heading")).to_have_text("<b onmouseover=alert(1)>")
    assert page.evaluate("window.hit") is None
    assert page.locator("main img, main script").count() == 0


def test_it_is_fresh_by_itself(open_page: OpenPage, console: Console) -> None:
    """A stuck item appears at once, in the title too, and goes when it is done."""
    page = open_page(console.address)
    expect(page).to_have_title("Operator console · Labkit")
    console.stick(7, "a cause")
    expect(item(page, "goods.7")).to_be_visible()
    expect(page).to_have_title("(1) Operator console · Labkit")
    expect(page.get_by_role("heading", level=1)).to_contain_text("1 thing is stuck")
    console.stick(8, "another cause", dead=True)
    expect(page.locator("#dead").locator("[id='stuck-goods.8']")).to_be_visible()
    console.clear()
    expect(item(page, "goods.7")).to_have_count(0)
    expect(page.get_by_role("heading", level=1)).to_contain_text(WORDS["en"]["well"])


def test_it_is_seen_within_two_seconds(open_page: OpenPage, console: Console) -> None:
    """From the commit of its cause to the page; the best of three, as the machine is shared."""
    page, took = open_page(console.address), []
    for number in (7, 8, 9):
        began = time.monotonic()
        console.stick(number, "a cause")
        expect(item(page, f"goods.{number}")).to_be_visible()
        took.append(time.monotonic() - began)
    print("seen after", ", ".join(f"{second:.2f} s" for second in took))
    assert min(took) < SEEN_SECONDS


def test_what_is_under_the_hand_stays(open_page: OpenPage, console: Console) -> None:
    """Refreshed, the page keeps the button that is focused, also when the item above it goes."""
    for number in (7, 8):
        console.stick(number, "a cause", msg_key=f"100{number}")
    page = open_page(console.address)
    button = item(page, "goods.8").get_by_role("button", name="Retry now")
    button.focus()
    button.evaluate("one => { one.mark = 1 }")
    shown = page.locator("#as-of").inner_text()
    expect(page.locator("#as-of")).not_to_have_text(shown)
    console.free(7)
    expect(item(page, "goods.7")).to_have_count(0)
    expect(button).to_be_focused()
    assert button.evaluate("one => one.mark") == 1


def test_keys_alone(open_page: OpenPage, console: Console) -> None:
    """Tab reaches languages, order and both buttons in the order of reading, each seen."""
    console.stick(7, "a cause")
    page = open_page(console.address)
    expect(item(page, "goods.7")).to_be_visible()
    for name in ("English", "中文", "1001", "Retry now", "Give up"):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        expect(focused).to_contain_text(name)
        outline = focused.evaluate("one => getComputedStyle(one).outline")
        assert "solid 3px" in outline, f"{name}: its focus cannot be seen: {outline}"


def test_without_scripts_the_buttons_work(open_page: OpenPage, console: Console) -> None:
    """A press is answered by the page, which says what came of it; here that nobody answers."""
    console.stick(7, "a cause")
    page = open_page(console.address, java_script_enabled=False)
    page.get_by_role("button", name="Give up").click()
    expect(page.locator("#outcome")).to_contain_text("goods gave no answer to give_up")
    assert page.url == f"{console.base}/"


def test_a_press_that_fails_is_told(open_page: OpenPage, console: Console) -> None:
    """Nobody answers at that desk: the page says so, keeps the item, and can be pressed again."""
    console.stick(7, "a cause")
    page = open_page(console.address)
    page.get_by_role("button", name="Retry now").click()
    outcome = page.locator("#outcome")
    expect(outcome).to_contain_text("goods gave no answer to retry", timeout=20_000)
    expect(item(page, "goods.7")).to_be_visible()
    button = page.get_by_role("button", name="Retry now")
    expect(button).not_to_have_attribute("aria-disabled", "true")


@pytest.mark.parametrize("what", ["nothing stuck", "much stuck", "refused", "trace", "missing"])
def test_everybody_can_use_it(open_page: OpenPage, console: Console, what: str) -> None:
    """axe finds nothing wrong and nothing scrolls sideways: in both languages, narrow and wide,
    light and dark."""
    if what == "much stuck":
        for number, dead in ((7, False), (8, True)):
            console.stick(number, HOSTILE, dead=dead, topic="T" * 60)
        console.say(goods="up", coupon="down", user="held", order="starting")
    path = {"trace": "/trace/1", "missing": "/no/such/page"}.get(what, "/")
    page = open_page(console.address) if what != "refused" else open_page()
    if what != "refused":  # the page that takes the token leads on by itself, after its load
        expect(page.locator("#services")).to_be_visible()
    for language in WORDS:
        page.goto(f"{console.base}{path}?lang={language}")
        page.evaluate(AXE.axe_script)
        for size in (PHONE, DESK):
            page.set_viewport_size(size)
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                results = AxeResults(page.evaluate(CHECK))
                assert results.violations_count == 0, results.generate_report()
            assert page.evaluate("document.scrollingElement.scrollWidth") <= size["width"]
    for box in page.evaluate(BOXES):
        assert min(box["width"], box["height"]) >= 44
