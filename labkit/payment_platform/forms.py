"""Reading merchants' requests: signed by the merchant, whole, and nothing unknown in them."""

import hmac
import re
from datetime import date, datetime
from typing import Annotated, TypeVar
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from fastapi import Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from labkit.http_body import BodyRefused, read_bounded
from labkit.payment_api.keys import APP_ID
from labkit.payment_api.signing import read_form, verify

_MAX_BODY = 16 * 1024
_BODY_SECONDS = 5
_INT64 = 2**63 - 1


class BadForm(Exception):
    """A request that cannot be read; the message names the parameter and the reason."""


class Forbidden(Exception):
    """A request that the merchant has not signed."""


def _whole(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,18}", text, re.ASCII):
        raise ValueError("must be a whole number from 1, in digits")
    return int(text)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo:
        raise ValueError("must be business time, without a zone")
    return moment


Number = Annotated[int, BeforeValidator(_whole), Field(le=_INT64)]
Moment = Annotated[datetime, BeforeValidator(_moment)]


class TradeForm(BaseModel):
    """The form that names a trade; closed to unknown parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    out_trade_no: Number


class CreateForm(TradeForm):
    """The form that opens a trade; amounts are cents."""

    subject: str = Field(min_length=1, max_length=255)
    total_amount: Number
    time_expire: Moment
    notify_url: str = Field(max_length=255, pattern=r"^http://[A-Za-z0-9.:\[\]-]+/[!-~]*$")


class RefundForm(TradeForm):
    """The form of a refund."""

    out_request_no: Number
    refund_amount: Number


F = TypeVar("F", bound=TradeForm)


async def read_body(request: Request) -> dict[str, str]:
    """Read the parameters of a form.

    Raises:
        BadForm: too long, too slow, no form, or a parameter is repeated.
    """
    try:
        return read_form(await read_bounded(request, _MAX_BODY, _BODY_SECONDS))
    except BodyRefused as refused:
        raise BadForm(str(refused)) from refused
    except ValueError as error:
        raise BadForm(
            f"body: {type(error).__name__}: not a form of 64 parameters, each once"
        ) from error


def read_signed(params: dict[str, str], key: RSAPublicKey) -> dict[str, str]:
    """Verify that the merchant signed a request, and return its parameters without the proof.

    Raises:
        Forbidden: another merchant, or not signed with the merchant's key.
    """
    app_id = params.get("app_id", "")
    mine = hmac.compare_digest(app_id.encode(errors="replace"), APP_ID.encode())
    if not verify(key, params) or not mine:
        raise Forbidden("app_id or sign: this request was not signed by a merchant of ours")
    proof = ("app_id", "sign", "sign_type")
    return {name: value for name, value in params.items() if name not in proof and value}


def take_name(params: dict[str, str]) -> dict[str, str]:
    """Take out the numbers that the answer repeats, so that it answers this request and no other.

    Raises:
        BadForm: `request_id` is missing or too long.
    """
    request_id = params.pop("request_id", "")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", request_id):
        raise BadForm("request_id: must be 1 to 64 letters and digits")
    return {"request_id": request_id, "out_trade_no": params.get("out_trade_no", "")}


def read(form: type[F], params: dict[str, str]) -> F:
    """Read parameters into a form.

    Raises:
        BadForm: one is missing, unknown or wrong.
    """
    try:
        return form(**params)  # type: ignore[arg-type]  # pydantic reads them
    except ValidationError as error:
        first = error.errors()[0]
        raise BadForm(
            f"{'.'.join(str(part)[:64] for part in first['loc'])}: {first['msg']}"
        ) from error


def read_day(query: str) -> date:
    """Read the day of `day=YYYY-MM-DD`.

    Raises:
        BadForm: not exactly that.
    """
    try:
        [(name, text)] = parse_qsl(query, keep_blank_values=True, max_num_fields=2)
        if name == "day" and re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise BadForm("day: ask for the bill of one business day: /bill?day=YYYY-MM-DD")
