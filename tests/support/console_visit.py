"""A person at the operator console of a whole lab, without a browser: the page, and its buttons."""

import re
from html import unescape
from pathlib import Path

import httpx

from labkit.home import Home
from labkit.stack.supervisor import launch
from labkit.waiting import wait_until

_FIELD = re.compile(r"<dt>([^<]*)</dt><dd>(.*?)</dd>", re.S)
_CSRF = re.compile(r'name="csrf" value="([^"]+)"')


class Visit:
    """Comes in with the token that `labkit status` prints, and is there when all was read once.

    Args:
        home: of a running lab.
    """

    def __init__(self, home: Path) -> None:
        address = str(launch.status(Home(home))["endpoints"]["console"])
        self._http = httpx.Client(base_url=address.partition("?")[0], trust_env=False, timeout=10)
        assert self._http.get(address).status_code == 200
        wait_until(lambda: '<details id="held">' in self._page(), "the console has looked", 60)

    def item(self, id: str) -> str:
        """Return what the page says about one stuck item, as HTML; empty where it says nothing."""
        match = re.search(rf'<li [^>]*id="stuck-{re.escape(id)}">.*?</li>', self._page(), re.S)
        return unescape(match[0]) if match else ""

    def press(self, verb: str, id: str) -> str:
        """One click on a button of that thing; what the page then says came of it."""
        form = _CSRF.search(self.item(id))
        assert form, f"{id} has no button {verb}"
        answer = self._http.post(f"/{verb}/{id}", data={"csrf": form[1]}, follow_redirects=True)
        outcome = re.search(r'<p id="outcome"[^>]*>(.*?)</p>', answer.text, re.S)
        return unescape(outcome[1]) if outcome else ""

    def close(self) -> None:
        """Leave."""
        self._http.close()

    def _page(self) -> str:
        return self._http.get("/", params={"lang": "en"}).text


def fields(item: str) -> dict[str, str]:
    """`Tries`, `Next try` and the others of an item, by what the page calls them."""
    return {name: re.sub(r"<[^>]*>", "", value).strip() for name, value in _FIELD.findall(item)}
