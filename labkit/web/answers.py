"""What all webs answer alike: a `Result`, whatever happened, and never a 500."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from labkit.results import Code, Result
from labkit.runtime.errors import Unknown
from labkit.runtime.telemetry import tracing
from labkit.web.intake import BadRequest

_RETRY_AFTER_SECONDS = "1"


class Limiter:
    """How many requests may be on their way at once; who finds none comes again later.

    Args:
        most: of them.
    """

    def __init__(self, most: int) -> None:
        self._left = most

    @property
    def none(self) -> bool:
        """Whether no more may come in now."""
        return self._left <= 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Be one of them for a block."""
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
        return answer(Result[Any].no(Code.BAD_REQUEST, str(error)))

    @app.exception_handler(HTTPException)
    async def unknown_path(_request: Request, error: HTTPException) -> Response:
        return answer(Result[Any].no(Code.BAD_REQUEST, str(error.detail)), error.status_code)

    @app.exception_handler(Unknown)
    async def away(_request: Request, error: Unknown) -> Response:
        return answer(Result[Any].no(Code.DEPENDENCY_AWAY, f"{error}; ask again"))

    @app.exception_handler(Exception)
    async def defect(_request: Request, error: Exception) -> Response:
        text = f"{type(error).__name__} in the {title}: see its log; ask again"
        return answer(Result[Any].no(Code.DEPENDENCY_AWAY, text))

    return app


def answer(result: Result[Any], status: int | None = None) -> Response:
    """A `Result` as an HTTP answer; 64-bit ids are strings in it."""
    if tracing.on:
        tracing.note(result)
    body = result.model_dump(mode="json")
    for field, value in (body["data"] or {}).items():
        if field.endswith("_id") and value is not None:
            body["data"][field] = str(value)
    status = status or result.status
    headers = {"Retry-After": _RETRY_AFTER_SECONDS} if status in (202, 503) else None
    text = json.dumps(body, ensure_ascii=False)
    return Response(text, status, headers, media_type="application/json")
