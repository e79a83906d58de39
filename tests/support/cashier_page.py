"""The cashier's page as a browser reads it, and its buttons as they are pressed."""

from html.parser import HTMLParser
from typing import Any

import httpx

from labkit.payment_platform.messages import CashierTrade
from labkit.results import Result
from tests.support.cashier_server import Till

BROWSER = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}


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
