"""The HTTP applications of a lab: two webs, the payment platform and the console."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response

Endpoint = Callable[[Request], Awaitable[Response]]
ErrorHandler = Callable[[Request, Any], Awaitable[Response]]
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def make_app(title: str, on_error: Mapping[type[Exception], ErrorHandler]) -> FastAPI:
    """Make an application without routes, and without FastAPI's own pages and redirects.

    Args:
        title: of the application, in its own errors too.
        on_error: exception → what answers a request that raised it.
    """
    app = FastAPI(
        title=title,
        openapi_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "operation_spans": False, "metrics": False, "logs": False},
    )
    for error, handler in on_error.items():
        app.add_exception_handler(error, handler)
    return app


def add_page(
    app: FastAPI, path: str, methods: tuple[str, ...], endpoint: Endpoint, refuse: Endpoint
) -> None:
    """Add a page that answers a request with any other method too.

    Args:
        app: the application.
        path: of the page.
        methods: those that it serves.
        endpoint: serves them.
        refuse: answers all others.
    """
    app.add_route(path, endpoint, list(methods))
    app.add_route(path, refuse, [method for method in _METHODS if method not in methods])
