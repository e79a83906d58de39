"""The cashier (收银台): the page on which a user pays or gives up, and what its buttons do.

A button posts, is answered 303, and the browser gets the page anew; so reloading, going back and
clicking twice only ever look again. The trade's row decides that it is paid once, not this page.
"""

import asyncio
import re
from collections.abc import Mapping
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from sqlalchemy.exc import SQLAlchemyError

from labkit.http_app import Endpoint, add_page
from labkit.http_body import BodyRefused, read_bounded
from labkit.payment_platform.messages import CashierToken, CashierTrade
from labkit.payment_platform.page import Page
from labkit.payment_platform.texts import WORDS, choose_language
from labkit.payment_platform.trades import find_cashier, give_up_trade, pay_trade
from labkit.results import Result
from labkit.runtime.errors import Overloaded
from labkit.runtime.injection.failpoints import Refused
from labkit.runtime.messaging.ports import StepRunner
from labkit.runtime.steps import Step
from labkit.shop.codes import Code

_ANSWER_SECONDS = 10  # a user waits no longer for an answer
_BODY_SECONDS = 5
_MAX_BODY = 64 * 1024
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_STATUS = {Code.SUCCESS: 200, Code.PAYMENT_NOT_FOUND: 404, Code.DEPENDENCY_AWAY: 503}


def add_routes(app: FastAPI, database: StepRunner) -> None:
    """Add the cashier to the platform's application.

    Args:
        app: the application.
        database: the platform's.
    """
    cashier = _Cashier(database)
    _add(app, "/cashier/{token}", ("GET", "HEAD"), cashier.show, cashier)
    _add(app, "/cashier/{token}/pay", ("POST",), cashier.button(pay_trade), cashier)
    _add(app, "/cashier/{token}/give-up", ("POST",), cashier.button(give_up_trade), cashier)


def _add(
    app: FastAPI, path: str, methods: tuple[str, ...], endpoint: Endpoint, cashier: "_Cashier"
) -> None:
    async def refuse(request: Request) -> Response:
        text = f"{request.method} is not taken here, only {' and '.join(methods)}"
        return cashier.answer(request, _bad(text), 405, {"Allow": ", ".join(methods)})

    add_page(app, path, methods, endpoint, refuse)


class _Cashier:
    """Asks the trade's steps, and answers browsers with the page and others with a `Result`."""

    def __init__(self, database: StepRunner) -> None:
        self._database = database
        self._page = Page()

    async def show(self, request: Request) -> Response:
        result = await self._ask(find_cashier, request)
        return self._html(request, result, _STATUS[Code(result.code)])

    def button(self, step: Step[CashierToken, Result[CashierTrade]]) -> Endpoint:
        """Make the endpoint of a button; a second press gets the same answer."""

        async def press(request: Request) -> Response:
            if _is_foreign(request):
                return self.answer(request, _bad("this came from another site"), 403)
            if not await _skip_body(request):
                text = f"body: longer than {_MAX_BODY} bytes or {_BODY_SECONDS} s; none is needed"
                return self.answer(request, _bad(text), 400)
            result = await self._ask(step, request)
            if result.data and _is_browser(request):
                headers = self._page.headers | {"Location": _path(request) + _query(request)}
                return Response(status_code=303, headers=headers)
            return self.answer(request, result, _STATUS.get(Code(result.code), 409))

        return press

    def answer(
        self,
        request: Request,
        result: Result[CashierTrade],
        status: int,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Answer a browser with a page, and others with a `Result`."""
        if _is_browser(request):
            return self._html(request, result, status, headers)
        text = result.model_dump_json()
        return self._response(text, status, headers, "application/json")

    def _html(
        self,
        request: Request,
        result: Result[CashierTrade],
        status: int,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        language = _chosen(request) or choose_language(request.headers.get("accept-language", ""))
        text = self._page.render(result, language, _path(request), _query(request))
        return self._response(text, status, headers, "text/html")

    def _response(
        self, text: str, status: int, headers: Mapping[str, str] | None, media_type: str
    ) -> Response:
        all_headers = self._page.headers | _retry(status) | dict(headers or {})
        return Response(text, status, all_headers, media_type=media_type)

    async def _ask(
        self, step: Step[CashierToken, Result[CashierTrade]], request: Request
    ) -> Result[CashierTrade]:
        token = request.path_params["token"]
        if not _TOKEN.fullmatch(token):
            return Result[CashierTrade].refused(Code.PAYMENT_NOT_FOUND, "there is no such trade")
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await self._database.run(step, CashierToken(token=token))
        except (SQLAlchemyError, Overloaded, Refused, TimeoutError) as error:
            text = f"the platform did not answer in time ({type(error).__name__}); ask again"
            return Result[CashierTrade].refused(Code.DEPENDENCY_AWAY, text)


def _bad(text: str) -> Result[CashierTrade]:
    return Result[CashierTrade].refused(Code.BAD_REQUEST, text)


def _retry(status: int) -> dict[str, str]:
    return {"Retry-After": "1"} if status == 503 else {}


def _is_browser(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _is_foreign(request: Request) -> bool:
    """Return True if another site had a browser send this.

    Our pages send no referrer, so a browser sends `Origin: null` with their forms; but no page can
    forge `Sec-Fetch-Site`. Older browsers send only the origin, and tools neither.
    """
    if site := request.headers.get("sec-fetch-site"):
        return site not in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2] != request.headers.get("host")


async def _skip_body(request: Request) -> bool:
    """Read an unneeded body to its end; return False if it is too long or too slow."""
    try:
        await read_bounded(request, _MAX_BODY, _BODY_SECONDS)
    except BodyRefused:
        return False
    return True


def _path(request: Request) -> str:
    """Return the path of the trade's page."""
    return f"/cashier/{quote(request.path_params['token'], safe='')}"


def _chosen(request: Request) -> str:
    """Return the language that the user chose; empty if none."""
    language = request.query_params.get("lang", "")
    return language if language in WORDS else ""


def _query(request: Request) -> str:
    chosen = _chosen(request)
    return f"?lang={chosen}" if chosen else ""
