"""The span of each request by HTTP: a middleware of ASGI, if the web is traced."""

from fastapi import FastAPI
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from labkit.runtime.telemetry import tracing
from labkit.shop.codes import Code

_BROKEN_AT = 500


class RequestSpans:
    """Puts a span around each request, with the status of its answer.

    Args:
        app: what serves the requests.
        routed: the application whose routes name them.
    """

    def __init__(self, app: ASGIApp, routed: FastAPI) -> None:
        self._app = app
        self._routed = routed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or whatever else a server asks of an application."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        with tracing.request(self._name(scope), _traceparent(scope)) as span:

            async def note(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    span.learnt |= {"status": status, "failed": status >= _BROKEN_AT}
                await send(message)

            try:
                return await self._app(scope, receive, note)
            except Exception:  # a defect, which is answered outside of this
                span.learnt.setdefault("status", Code.DEPENDENCY_AWAY.status)
                raise

    def _name(self, scope: Scope) -> str:
        """Return the method and the route, in which an order's id is no part of the name."""
        routes = self._routed.router.routes
        matching = (route for route in routes if route.matches(scope)[0] is Match.FULL)
        path = getattr(next(matching, None), "path", "")
        return f"{scope['method']} {path}".strip()


def _traceparent(scope: Scope) -> str:
    values = (value for name, value in scope["headers"] if name == b"traceparent")
    return next(values, b"").decode("latin-1")
