"""The answers of all webs: a `Result`, whatever happened, and never a 500."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from labkit.http_app import ErrorHandler, make_app
from labkit.results import Result
from labkit.runtime.errors import Unknown
from labkit.runtime.telemetry import tracing
from labkit.shop.codes import Code
from labkit.web.intake import BadRequest
from labkit.web.request_spans import RequestSpans

_RETRY_AFTER_SECONDS = "1"


class Limiter:
    """A bound on the requests that are served at once; a client that finds it full comes again.

    Args:
        limit: requests at once.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit

    @property
    def is_full(self) -> bool:
        """Return True if no more requests may come in now."""
        return self._free <= 0

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Occupy one of the slots for a block."""
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


def make_web(title: str) -> FastAPI:
    """Make a web application that answers its errors as a `Result`, and never with a 500."""
    handlers: dict[type[Exception], ErrorHandler] = {
        BadRequest: _bad_request,
        HTTPException: _no_such_page,
        Unknown: _away,
        Exception: _defect,
    }
    app = make_app(title, handlers)
    if tracing.on:
        app.add_middleware(RequestSpans, routed=app)
    return app


async def _bad_request(_request: Request, error: BadRequest) -> Response:
    return answer(Result[None].refused(Code.BAD_REQUEST, str(error)))


async def _no_such_page(_request: Request, error: HTTPException) -> Response:
    return answer(Result[None].refused(Code.BAD_REQUEST, str(error.detail)), error.status_code)


async def _away(_request: Request, error: Unknown) -> Response:
    return answer(Result[None].refused(Code.DEPENDENCY_AWAY, f"{error}; ask again"))


async def _defect(request: Request, error: Exception) -> Response:
    text = f"{type(error).__name__} in the {request.app.title}: see its log; ask again"
    return answer(Result[None].refused(Code.DEPENDENCY_AWAY, text))


def answer(result: Result[object], status: int | None = None) -> Response:
    """Write a `Result` as an HTTP answer, with 64-bit ids as strings."""
    if tracing.on:
        tracing.note(result)
    body = result.model_dump(mode="json")
    for field, value in (body["data"] or {}).items():
        if field.endswith("_id") and value is not None:
            body["data"][field] = str(value)
    status = status or Code(result.code).status
    headers = {"Retry-After": _RETRY_AFTER_SECONDS} if status in (202, 503) else None
    text = json.dumps(body, ensure_ascii=False)
    return Response(text, status, headers, media_type="application/json")
