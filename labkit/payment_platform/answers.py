"""What the platform answers: results as parameters that can be signed, and every refusal."""

from json import dumps
from typing import Any

from fastapi import FastAPI, Request, Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from labkit.payment_platform.forms import BadForm, Forbidden
from labkit.payment_platform.messages import CashierTrade, Refunded
from labkit.results import Result
from labkit.runtime.errors import Overloaded
from labkit.runtime.injection.failpoints import Refused
from labkit.shop.codes import Code

_OF_TRADE = ("out_trade_no", "trade_no", "trade_status", "total_amount")


def flat(result: Result[object], url: str) -> dict[str, str]:
    """A result as parameters, which can be signed.

    Args:
        result: of a step.
        url: under which the cashier is reached.
    """
    params = {
        "success": "true" if result.success else "false",
        "code": str(result.code),
        "name": result.name,
        "message": result.message,
    }
    if isinstance(result.data, CashierTrade):
        params |= {name: str(getattr(result.data, name)) for name in _OF_TRADE}
        params["cashier_url"] = f"{url}/cashier/{result.data.token}"
    if isinstance(result.data, Refunded):
        params |= {name: str(value) for name, value in result.data}
    return params


def json(body: dict[str, Any], status: int) -> Response:
    """An answer in JSON."""
    headers = {"Retry-After": "1"} if status == 503 else None
    return Response(dumps(body, ensure_ascii=False), status, headers, media_type="application/json")


def add_refusals(app: FastAPI) -> None:
    """Have every error answered with a `Result` that tells what to do; they are not signed."""

    def refuse(status: int, text: str) -> Response:
        code = Code.DEPENDENCY_AWAY if status == 503 else Code.BAD_REQUEST
        return json(Result[None].refused(code, text).model_dump(mode="json"), status)

    @app.exception_handler(BadForm)
    async def bad(_request: Request, error: BadForm) -> Response:
        return refuse(400, str(error))

    @app.exception_handler(Forbidden)
    async def forbidden(_request: Request, error: Forbidden) -> Response:
        return refuse(403, str(error))

    @app.exception_handler(HTTPException)
    async def unknown_path(_request: Request, error: HTTPException) -> Response:
        return refuse(error.status_code, str(error.detail))

    @app.exception_handler(Overloaded)
    @app.exception_handler(Refused)
    @app.exception_handler(SQLAlchemyError)
    async def away(_request: Request, error: Exception) -> Response:
        return refuse(503, f"{type(error).__name__} at the platform; ask again")

    @app.exception_handler(Exception)
    async def defect(_request: Request, error: Exception) -> Response:
        return refuse(503, f"{type(error).__name__} in the platform: see its log; ask again")
