"""What all webs answer alike: a `Result`, whatever happened, and never a 500."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from labkit.results import Result
from labkit.runtime.errors import Unknown
from labkit.runtime.telemetry import tracing
from labkit.shop.codes import Code
from labkit.web.intake import BadRequest

_RETRY_AFTER_SECONDS = "1"


class Limiter:
    """A bound on the requests that are served at once; a client that finds it full comes again.

    Args:
        most: requests at once.
    """

    def __init__(self, most: int) -> None:
        self._left = most

    @property
    def is_full(self) -> bool:
        """Return True if no more requests may come in now."""
        return self._left <= 0

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Occupy one of the slots for a block."""
        self._left -= 1
        try:
            yield
        finally:
            self._left += 1


def make_app(title: str) -> FastAPI:
    """A web application that answers its errors as a `Result`.

    Args:
        title: what the web is called, in its own errors too.
    """
    app = FastAPI(
        title=title,
        openapi_url=None,
        redirect_slashes=False,
        telemetry={
            "tracing": tracing.on,
            "operation_spans": False,
            "metrics": False,
            "logs": False,
        },
    )

    @app.exception_handler(BadRequest)
    async def bad(_request: Request, error: BadRequest) -> Response:
        return answer(Result[None].refused(Code.BAD_REQUEST, str(error)))

    @app.exception_handler(HTTPException)
    async def unknown_path(_request: Request, error: HTTPException) -> Response:
        return answer(Result[None].refused(Code.BAD_REQUEST, str(error.detail)), error.status_code)

    @app.exception_handler(Unknown)
    async def away(_request: Request, error: Unknown) -> Response:
        return answer(Result[None].refused(Code.DEPENDENCY_AWAY, f"{error}; ask again"))

    @app.exception_handler(Exception)
    async def defect(_request: Request, error: Exception) -> Response:
        text = f"{type(error).__name__} in the {title}: see its log; ask again"
        return answer(Result[None].refused(Code.DEPENDENCY_AWAY, text))

    return app


def answer(result: Result[object], status: int | None = None) -> Response:
    """A `Result` as an HTTP answer; 64-bit ids are strings in it."""
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
