"""What a web says of itself to who knows the home's secret: whether those it calls answer."""

import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from labkit.runtime.messaging.admin import Edge
from labkit.runtime.rpc.connection import SECRET

PATH = "/health"


class Health:
    """Stands before a web application, and leaves all other requests to it.

    Args:
        web: the application.
        secret: of the home.
        ask_around: asks everybody whom the web calls.
    """

    def __init__(
        self, web: ASGIApp, secret: str, ask_around: Callable[[], Awaitable[tuple[Edge, ...]]]
    ) -> None:
        self._web = web
        self._secret = secret.encode()
        self._ask_around = ask_around

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if not self._is_for_us(scope):
            return await self._web(scope, receive, send)
        edges = [edge.model_dump() for edge in await self._ask_around()]
        answer = Response(json.dumps(edges), media_type="application/json")
        return await answer(scope, receive, send)

    def _is_for_us(self, scope: Any) -> bool:
        if scope["type"] != "http" or scope["path"] != PATH:
            return False
        told = dict(scope["headers"]).get(SECRET.encode(), b"")
        return hmac.compare_digest(told, self._secret)
