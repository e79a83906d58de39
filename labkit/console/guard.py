"""Who may use the console: whoever was handed its token, in their own browser, on this machine.

Every user of the machine reaches a loopback port, and so does every web page that a browser here
shows. So the console answers under its own two names alone (or a page elsewhere could make its own
name mean this address: DNS rebinding), to who brings the cookie that the token was changed into,
and does something only for a form that it wrote itself (or another page could have the browser send
one, with the cookie: cross-site request forgery).
"""

import hashlib
import hmac
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

#: The field of a form that proves who wrote it.
CSRF = "csrf"


class Guard:
    """Checks requests.

    Args:
        token: of this console; nothing that is derived from it tells it.
        port: on which it listens.

    Attributes:
        port: the same; the console answers to its names with this port alone.
        csrf: what the forms of its own pages carry.
    """

    def __init__(self, token: str, port: int) -> None:
        self._token = token
        self.port = port
        self._names = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._cookie = f"labkit-console-{port}"  # cookies know no ports: labs must not share one
        self._session = self._derive("session")
        self.csrf = self._derive("csrf")

    def is_called_by_name(self, request: Request) -> bool:
        """Whether the request names this console as its host."""
        return self._names.issuperset(hosts := request.headers.getlist("host")) and len(hosts) == 1

    def brings_token(self, request: Request) -> bool:
        """Whether its address holds the token."""
        tokens = request.query_params.getlist("token")
        return len(tokens) == 1 and _same(tokens[0], self._token)

    def knows(self, request: Request) -> bool:
        """Whether the browser was let in before."""
        return _same(request.cookies.get(self._cookie, ""), self._session)

    def let_in(self, answer: Response) -> None:
        """Give a browser what it is known by: no script reads it, and no other site sends it."""
        answer.set_cookie(self._cookie, self._session, httponly=True, samesite="strict", path="/")

    def wrote(self, request: Request, form: Mapping[str, str]) -> bool:
        """Whether a form is one of the console's own, sent from its own page."""
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
