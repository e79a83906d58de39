"""Access to the console: for browsers on this machine that have brought its token.

Every user of the machine reaches a loopback port, and so does every web page that a browser here
shows. So the console answers under its own two names alone (or a page elsewhere could make its own
name mean this address: DNS rebinding), to browsers with the cookie that they got for the token, and
acts only on a form that it wrote itself (or another page could make the browser send one, with the
cookie: cross-site request forgery).
"""

import hashlib
import hmac
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

#: The field of a form that proves that the console wrote it.
CSRF = "csrf"


class Guard:
    """Checks requests.

    Args:
        token: of this console; nothing that is derived from it reveals it.
        port: on which it listens.

    Attributes:
        port: the same; the console answers to its names with this port alone.
        csrf: the token of the forms on its own pages.
    """

    def __init__(self, token: str, port: int) -> None:
        self._token = token
        self.port = port
        self._names = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._cookie = f"labkit-console-{port}"  # cookies know no ports: labs must not share one
        self._session = self._derive("session")
        self.csrf = self._derive("csrf")

    def is_called_by_name(self, request: Request) -> bool:
        """Return True if the request names this console as its host."""
        return self._names.issuperset(hosts := request.headers.getlist("host")) and len(hosts) == 1

    def brings_token(self, request: Request) -> bool:
        """Return True if the address of the request holds the token."""
        tokens = request.query_params.getlist("token")
        return len(tokens) == 1 and _same(tokens[0], self._token)

    def knows(self, request: Request) -> bool:
        """Return True if the browser was let in before."""
        return _same(request.cookies.get(self._cookie, ""), self._session)

    def let_in(self, answer: Response) -> None:
        """Give a browser its cookie: no script reads it, and no other site sends it."""
        answer.set_cookie(self._cookie, self._session, httponly=True, samesite="strict", path="/")

    def wrote(self, request: Request, form: Mapping[str, str]) -> bool:
        """Return True if a form is one of the console's own, sent from its own page."""
        origin = request.headers.get("origin")
        if origin is not None and origin not in {f"http://{name}" for name in self._names}:
            return False
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return False
        return _same(form.get(CSRF, ""), self.csrf)

    def _derive(self, purpose: str) -> str:
        return hmac.new(self._token.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())
