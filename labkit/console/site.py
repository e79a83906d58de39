"""The console's web application: access, pages, and the actions of its buttons.

A button posts, gets the answer 303, and the browser loads the page again, which shows the result.
So the page works without its script, which only keeps it fresh.
"""

import asyncio
import time
from collections import deque
from typing import TypedDict

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from labkit import http_app
from labkit.console.guard import Guard
from labkit.console.page import FILES, HEADERS, Pages, read_file
from labkit.console.watch import Watch
from labkit.console.words import WORDS
from labkit.home import Home
from labkit.http_app import Endpoint
from labkit.http_body import BodyRefused, read_bounded
from labkit.ops import drive
from labkit.ops.pending_item import PendingItem
from labkit.ops.trace import draw
from labkit.payment_api.signing import read_form
from labkit.payment_platform.texts import choose_language

_MAX_SHOWN = 50
_MAX_ACTIONS = 8
_MAX_BODY_BYTES, _BODY_S = 4096, 5.0
_READ = ("GET", "HEAD")


def make_app(home: Home, guard: Guard, watch: Watch) -> FastAPI:
    """Make the web application.

    Args:
        home: of the lab.
        guard: checks requests.
        watch: reads the data.
    """
    site = _Site(home, guard, watch)

    async def unknown_path(request: Request, error: HTTPException) -> Response:
        return site.refusal(request) or site.message(request, "missing", error.status_code)

    app = http_app.make_app("labkit operator console", {HTTPException: unknown_path})
    site.add(app, "/", _READ, site.show, entrance=True)
    site.add(app, "/trace/{order_id}", _READ, site.trace)
    for verb in drive.ManualAction:
        site.add(app, f"/{verb.replace('_', '-')}/{{id}}", ("POST",), site.button(verb))
    for name, kind in FILES.items():
        site.add(app, f"/{name}", _READ, _file(name, kind), entrance=True)
    return app


class _Action(TypedDict):
    """An action that a button has started, with its result; `at` is of the wall clock."""

    at: float
    verb: drive.ManualAction
    id: str
    success: bool
    text: str


class _Site:
    def __init__(self, home: Home, guard: Guard, watch: Watch) -> None:
        self._home, self._guard, self._watch = home, guard, watch
        self._pages = Pages(guard.csrf)
        self._actions: deque[_Action] = deque(maxlen=_MAX_ACTIONS)
        self._traced = home.settings().tracing > 0

    def add(
        self,
        app: FastAPI,
        path: str,
        methods: tuple[str, ...],
        endpoint: Endpoint,
        *,
        entrance: bool = False,
    ) -> None:
        """Add a page; a request that is refused, or of another method, gets a page that says why.

        Args:
            app: the application.
            path: of the page.
            methods: of requests for the page.
            endpoint: answers.
            entrance: whether browsers may come that were not let in yet.
        """

        async def checked(request: Request) -> Response:
            refused = self.refusal(request, entrance=entrance)
            return refused or await endpoint(request)

        async def other(request: Request) -> Response:
            allow = {"Allow": ", ".join(methods)}
            return self.refusal(request) or self.message(request, "method", 405, allow)

        http_app.add_page(app, path, methods, checked, other)

    def refusal(self, request: Request, *, entrance: bool = False) -> Response | None:
        """Return the page that refuses a request; None for a request that may pass."""
        if not self._guard.is_called_by_name(request):
            return self.message(request, "name", 421)
        if not entrance and not self._guard.knows(request):
            return self.message(request, "refused", 403)
        return None

    def message(
        self, request: Request, what: str, status: int, headers: dict[str, str] | None = None
    ) -> Response:
        """Return a page with a message only."""
        return self._html(request, "message", status, headers, what=what, port=self._guard.port)

    async def show(self, request: Request) -> Response:
        """Return the console; or the way in, for a browser that brings the token."""
        if "token" in request.query_params and self._guard.brings_token(request):
            # a page, and no redirect: of a chain that began at another site a browser sends no
            # strict cookie along; and what follows it takes the place of the token in its history
            entered = self._html(request, "enter", 200, {"Referrer-Policy": "no-referrer"})
            self._guard.let_in(entered)
            return entered
        if not self._guard.knows(request):
            return self.message(request, "refused", 403)
        look, check = await asyncio.gather(self._watch.look(), self._watch.check())
        dead = [item for item in look.stuck if _is_dead(item)]
        waiting = [item for item in look.stuck if not _is_dead(item)]
        return self._html(
            request,
            "console",
            200,
            look=look,
            check=check,
            waiting=waiting,
            dead=dead,
            services=self._watch.services(),
            faults=self._watch.faults(),
            done=list(self._actions),
            traced=self._traced,
            shown=_MAX_SHOWN,
        )

    async def trace(self, request: Request) -> Response:
        """Return the trace of one order, line by line."""
        order_id = request.path_params["order_id"]
        if not (order_id.isdecimal() and order_id.isascii()):
            return self.message(request, "missing", 404)
        try:
            drawing = await asyncio.to_thread(draw.draw, self._home.traces, order_id, str)
            lines, status = drawing.lines, 200
        except draw.NotTraced:
            lines, status = [], 404
        return self._html(request, "trace", status, lines=lines, order_id=order_id)

    def button(self, verb: drive.ManualAction) -> Endpoint:
        """Return what answers a button."""

        async def press(request: Request) -> Response:
            try:
                form = read_form(await read_bounded(request, _MAX_BODY_BYTES, _BODY_S))
            except (BodyRefused, ValueError):
                return self.message(request, "method", 400)
            if not self._guard.wrote(request, form):
                return self.message(request, "method", 403)
            await self._drive(verb, request.path_params["id"])
            return Response(None, 303, HEADERS | {"Location": f"/{_query(request)}"})

        return press

    async def _drive(self, verb: drive.ManualAction, id: str) -> None:
        try:
            result = await drive.drive(self._home, verb, id)
            success, text = result.success, result.message
        except (ValueError, RuntimeError, OSError) as error:  # no id, a database or registry away
            success, text = False, str(error)
        self._watch.invalidate()
        self._actions.appendleft(
            {"at": time.time(), "verb": verb, "id": id, "success": success, "text": text}
        )

    def _html(
        self,
        request: Request,
        name: str,
        status: int,
        headers: dict[str, str] | None = None,
        **values: object,
    ) -> Response:
        language = _chosen(request) or choose_language(request.headers.get("accept-language", ""))
        text = self._pages.render(name, language, query=_query(request), **values)
        return Response(text, status, HEADERS | (headers or {}), media_type="text/html")


def _file(name: str, kind: str) -> Endpoint:
    text = read_file(name)

    async def give(_request: Request) -> Response:
        return Response(text, 200, HEADERS, media_type=kind)

    return give


def _is_dead(item: PendingItem) -> bool:
    """Return True if nobody tries an item any more."""
    return item["kind"].startswith("dead")


def _chosen(request: Request) -> str:
    """Return the language that was chosen by hand; empty where none was."""
    language = request.query_params.get("lang", "")
    return language if language in WORDS else ""


def _query(request: Request) -> str:
    chosen = _chosen(request)
    return f"?lang={chosen}" if chosen else ""
