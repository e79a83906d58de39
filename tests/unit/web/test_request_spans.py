"""The span of a request: its name is the route's, and its status the answer's, a defect's too."""

import asyncio
from pathlib import Path

import httpx
import pytest
from fastapi import Request, Response

from labkit.ops.trace.reading import read_spans
from labkit.ops.trace.tree import Span
from labkit.runtime.telemetry import tracing
from labkit.web.answers import make_web
from labkit.web.intake import BadRequest


async def _serve(request: Request) -> Response:
    order_id = request.path_params["order_id"]
    if order_id == "bad":
        raise BadRequest("order_id: bad")
    if order_id == "defect":
        raise ZeroDivisionError("a defect")
    return Response("yes", 201)


@pytest.fixture
def ask(tmp_path: Path):
    """Asks a traced web for a path; the answer's status, and the spans of it."""

    def ask_for(path: str) -> tuple[int, list[Span]]:
        tracing.start(tmp_path, "order-web", 1, 1.0)
        try:
            app = make_web("order web")
            app.add_route("/order/{order_id}", _serve, ["GET"])

            async def get() -> int:
                transport = httpx.ASGITransport(app, raise_app_exceptions=False)
                async with httpx.AsyncClient(transport=transport, base_url="http://web") as client:
                    return (await client.get(path)).status_code

            return asyncio.run(get()), read_spans(tmp_path)
        finally:
            tracing.stop()

    return ask_for


@pytest.mark.parametrize(
    ("path", "name", "status", "failed"),
    [
        ("/order/7", "GET /order/{order_id}", 201, False),
        ("/order/bad", "GET /order/{order_id}", 400, False),
        ("/order/defect", "GET /order/{order_id}", 503, True),
        ("/nothing", "GET", 404, False),
    ],
)
def test_a_request_has_one_span_with_its_status(
    ask, path: str, name: str, status: int, failed: bool
) -> None:
    """What the client was told is what the picture shows."""
    told, (span,) = ask(path)
    assert told == status
    assert (span["name"], span["status"], span["failed"]) == (name, status, failed)
    assert span["kind"] == "http"
