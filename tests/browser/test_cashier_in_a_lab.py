"""Through a whole lab: from an order over the page in the browser to an order that is paid."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Error, Page, expect

from labkit.lab import Lab
from labkit.lab.display.answer import Answer
from labkit.payment_platform.texts import WORDS, yuan
from labkit.stack.supervisor import launch
from labkit.waiting import wait_until
from tests.browser.conftest import OpenPage
from tests.support.storyline import quick_lab

pytestmark = pytest.mark.slow

PAY, GIVE_UP, PAID, CLOSED = (
    WORDS["en"][name] for name in ("pay", "give_up", "paid_title", "closed_title")
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of its own."""
    with quick_lab(tmp_path_factory.mktemp("lab") / "home") as lab:
        yield lab


def placed(lab: Lab) -> str:
    """The id of an order; placed once more where the machine was too slow for a call."""

    def place() -> str | None:
        answer = lab.order()
        return answer.order_id if answer.result.success else None

    return wait_until(place, "an order is placed", timeout=30)


def opened(lab: Lab, order_id: str) -> Answer:
    """The open payment of an order; asked for once more where the machine was too slow."""

    def create() -> Answer | None:
        answer = lab.create_payment(order_id)
        return answer if answer.cashier_url else None

    return wait_until(create, f"order {order_id} has an open payment", timeout=30)


def pay_status(lab: Lab, order_id: str) -> Any:
    """Return what the order says about its payment: 0 unpaid, 2 paid."""
    return lab.client.find(order_id).json()["data"]["pay_status"]


def heading(page: Page, text: str) -> None:
    """The page has come to say so."""
    expect(page.get_by_role("heading", name=text)).to_be_visible()


def test_from_order_to_paid(lab: Lab, open_page: OpenPage) -> None:
    """The page shows the order's amount; a press on pay makes the order paid."""
    order_id = placed(lab)
    payment = opened(lab, order_id)
    page = open_page(payment.cashier_url)
    pay = page.get_by_role("button", name=PAY)
    expect(pay).to_contain_text(yuan(payment.result.data["pay_amount"]))
    expect(page.get_by_role("main")).to_contain_text(payment.pay_id)
    pay.click()
    heading(page, PAID)
    wait_until(lambda: pay_status(lab, order_id) == 2, "the order is paid")
    assert lab.create_payment(order_id).status == 409


def test_giving_up_leaves_the_order_open(lab: Lab, open_page: OpenPage) -> None:
    """A payment that was given up can be begun anew, and the new one pays for the order."""
    order_id = placed(lab)
    payment = opened(lab, order_id)
    page = open_page(payment.cashier_url)
    page.get_by_role("button", name=GIVE_UP).click()
    heading(page, CLOSED)
    assert pay_status(lab, order_id) == 0
    another = wait_until(
        lambda: new if (new := opened(lab, order_id)).pay_id != payment.pay_id else None,
        "the shop knows that the payment is closed, and opens another",
    )
    page.goto(another.cashier_url)
    page.get_by_role("button", name=PAY).click()
    heading(page, PAID)
    wait_until(lambda: pay_status(lab, order_id) == 2, "the order is paid")


def test_the_platform_dies_over_the_payment(lab: Lab, open_page: OpenPage) -> None:
    """It takes the money and dies: the page, opened again, says paid, and so does the order."""
    order_id = placed(lab)
    page = open_page(opened(lab, order_id).cashier_url)
    address, before = page.url, pid(lab)
    lab.faults.arm("platform.pay_trade.after_commit", "crash")
    # a browser that loses its connection may post again by itself, which must do no harm either
    page.get_by_role("button", name=PAY).click(no_wait_after=True)
    wait_until(lambda: pid(lab) not in (None, before), "the platform died, and is up again")

    def looked_again() -> bool:
        try:
            return page.goto(address) is not None
        except Error:  # another navigation came between, or nobody answers yet
            return False

    wait_until(looked_again, "the page is there again")
    heading(page, PAID)
    wait_until(lambda: pay_status(lab, order_id) == 2, "the order is paid")


def pid(lab: Lab) -> int | None:
    """The platform's process; None while it is down."""
    services = launch.status(lab.home)["services"]
    up = (
        service["pid"]
        for service in services
        if (service["name"], service["state"]) == ("platform", "up")
    )
    return next(up, None)
