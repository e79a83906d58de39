"""The health of a web, for callers with the home's secret: the answers of those it calls."""

import hmac
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from labkit.runtime.messaging.admin import Edge

PATH = "/health"
#: Of the answer: the process that gave it, of the two that share a socket while one is replaced.
PROCESS = "labkit-process"
SECRET = "labkit-secret"  # the header's name, not a secret


class Health:
    """A middleware that answers `/health`, and passes all other requests to the web application.

    Args:
        web: the application.
        secret: of the home.
        ask_around: asks every service that the web calls.
    """

    def __init__(
        self, web: ASGIApp, secret: str, ask_around: Callable[[], Awaitable[tuple[Edge, ...]]]
    ) -> None:
        self._web = web
        self._secret = secret.encode()
        self._ask_around = ask_around

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if not self._is_health_check(scope):
            return await self._web(scope, receive, send)
        edges = [edge.model_dump() for edge in await self._ask_around()]
        whose = {PROCESS: str(os.getpid())}
        answer = Response(json.dumps(edges), media_type="application/json", headers=whose)
        return await answer(scope, receive, send)

    def _is_health_check(self, scope: Any) -> bool:
        if scope["type"] != "http" or scope["path"] != PATH:
            return False
        secret = dict(scope["headers"]).get(SECRET.encode(), b"")
        return hmac.compare_digest(secret, self._secret)
