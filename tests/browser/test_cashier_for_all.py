"""The cashier for everybody: every state, in both languages, narrow and wide, light and dark."""

from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.base import AxeResults
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from labkit.payment_platform.texts import WORDS
from tests.browser.conftest import OpenPage
from tests.support.cashier_server import Till

pytestmark = pytest.mark.slow

AXE = Axe()
CHECK = "axe.run({resultTypes: ['violations', 'incomplete']})"
BOXES = """[...document.querySelectorAll("a, button")].map(one => one.getBoundingClientRect())
    .map(box => [box.left, box.top, box.right, box.bottom])"""
PHONE, DESK = {"width": 360, "height": 640}, {"width": 1280, "height": 800}
LONG = "W" * 200 + "华为" * 100 + "<script>alert(1)</script>\"'&"


def unknown(till: Till) -> Iterator[str]:
    """An address of nothing."""
    yield f"{till.base}/cashier/nobodys"


def refused(till: Till) -> Iterator[str]:
    """An address that takes only what a button sends."""
    yield f"{till.address(till.opened())}/pay"


def away(till: Till) -> Iterator[str]:
    """A page while the database is away."""
    address = till.address(till.opened())
    with till.away():
        yield address


def trade_that_is(state: str) -> Callable[[Till], Iterator[str]]:
    """A page of a trade in a state, with a long name, over a large amount."""

    def address(till: Till) -> Iterator[str]:
        yield till.address(getattr(till, state)(subject=LONG, cents=99_999_999_99))

    return address


STATES = {state: trade_that_is(state) for state in ("opened", "paid", "closed", "expired")}
STATES |= {"unknown": unknown, "refused": refused, "away": away}


@pytest.fixture(params=STATES)
def address(request: pytest.FixtureRequest, till: Till) -> Iterator[str]:
    """The address of a page in each state that it can be in."""
    yield from STATES[request.param](till)


def test_everybody_can_use_it(open_page: OpenPage, address: str) -> None:
    """axe finds nothing wrong, nothing scrolls sideways, and fingers hit what is to be pressed."""
    page = open_page()
    for language in WORDS:
        page.goto(f"{address}?lang={language}")
        page.evaluate(AXE.axe_script)  # once a page: it is half a megabyte
        for size in (PHONE, DESK):
            page.set_viewport_size(size)
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                results = AxeResults(page.evaluate(CHECK))
                assert results.violations_count == 0, results.generate_report()
                assert results.response["incomplete"] == []
            fits(page, size["width"])


def fits(page: Page, width: int) -> None:
    """Nothing is wider than the screen, and what can be pressed measures 44 pixels or more."""
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    boxes = page.evaluate(BOXES)
    assert boxes
    for left, top, right, bottom in boxes:
        assert min(right - left, bottom - top) >= 44
        assert 0 <= left < right <= width


def test_it_respects_what_a_person_has_set(open_page: OpenPage, till: Till) -> None:
    """Dark where the system is dark, still where motion is reduced, larger where text is."""
    page = open_page(till.address(till.opened(subject=LONG)))
    looks = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(looks)
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    assert page.evaluate(looks) != light
    moves = "getComputedStyle(document.querySelector('button')).transitionDuration"
    assert page.evaluate(moves) == "0s"
    page.set_viewport_size(PHONE)
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]
