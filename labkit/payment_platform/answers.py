"""The platform's answers: results as parameters that can be signed, and every refusal."""

from collections.abc import Mapping
from json import dumps

from fastapi import Request, Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from labkit.http_app import ErrorHandler
from labkit.payment_platform.forms import BadForm, Forbidden
from labkit.payment_platform.messages import CashierTrade, Refunded
from labkit.results import Result
from labkit.runtime.errors import Overloaded
from labkit.runtime.injection.failpoints import Refused
from labkit.shop.codes import Code

_OF_TRADE = ("out_trade_no", "trade_no", "trade_status", "total_amount")


def flat(result: Result[object], url: str) -> dict[str, str]:
    """Write a result as parameters, which can be signed.

    Args:
        result: of a step.
        url: of the cashier.
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


def json(body: Mapping[str, object], status: int) -> Response:
    """Make an answer in JSON."""
    headers = {"Retry-After": "1"} if status == 503 else None
    return Response(dumps(body, ensure_ascii=False), status, headers, media_type="application/json")


def _refuse(status: int, text: str) -> Response:
    code = Code.DEPENDENCY_AWAY if status == 503 else Code.BAD_REQUEST
    return json(Result[None].refused(code, text).model_dump(mode="json"), status)


async def _bad_form(_request: Request, error: BadForm) -> Response:
    return _refuse(400, str(error))


async def _forbidden(_request: Request, error: Forbidden) -> Response:
    return _refuse(403, str(error))


async def _no_such_page(_request: Request, error: HTTPException) -> Response:
    return _refuse(error.status_code, str(error.detail))


async def _away(_request: Request, error: Exception) -> Response:
    return _refuse(503, f"{type(error).__name__} at the platform; ask again")


async def _defect(_request: Request, error: Exception) -> Response:
    return _refuse(503, f"{type(error).__name__} in the platform: see its log; ask again")


#: Exception → what answers a request that raised it: a `Result` that says what to do, not signed.
ON_ERROR: dict[type[Exception], ErrorHandler] = {
    BadForm: _bad_form,
    Forbidden: _forbidden,
    HTTPException: _no_such_page,
    Overloaded: _away,
    Refused: _away,
    SQLAlchemyError: _away,
    Exception: _defect,
}
