"""Reading requests: a malformed one is refused with 400, naming the field and the reason."""

import json
import re
import unicodedata
from typing import Annotated, NoReturn, TypeVar

from fastapi import Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from labkit.http_body import BodyRefused, read_bounded

_MAX_BODY = 64 * 1024
_BODY_SECONDS = 5
_INT64 = 2**63 - 1


class BadRequest(Exception):
    """A request that cannot be read; the message names the field and the reason."""


def _whole(value: object) -> object:
    """Accept an id also as a string, since JavaScript cannot hold 64 bits."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,19}", value, re.ASCII):
        return int(value)
    return value


def _clean(value: object) -> object:
    if isinstance(value, str):
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value):
            raise ValueError("must not hold control characters or broken Unicode")
        if not value.strip():
            raise ValueError("must not be blank")
    return value


Id = Annotated[int, BeforeValidator(_whole), Field(strict=True, ge=1, le=_INT64)]
Amount = Annotated[int, Field(strict=True, ge=-_INT64, le=_INT64)]
Text64 = Annotated[str, BeforeValidator(_clean), Field(strict=True, max_length=64)]
Text255 = Annotated[str, BeforeValidator(_clean), Field(strict=True, max_length=255)]


class Body(BaseModel):
    """Base of request bodies: closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


B = TypeVar("B", bound=Body)


async def read_body(request: Request, form: type[B]) -> B:
    """Read the request's JSON object into a form.

    Raises:
        BadRequest: too long, no JSON, a field that is missing, unknown, repeated or wrong, or
            query parameters.
    """
    refuse_query(request)
    body = await read_bytes(request)
    try:
        fields = json.loads(body, object_pairs_hook=_no_repeats, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"body: not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadRequest("body: must be a JSON object")
    try:
        return form(**fields)
    except ValidationError as error:
        raise BadRequest(_explain(error)) from error


async def read_bytes(request: Request) -> bytes:
    """Read the request's body.

    Raises:
        BadRequest: it is too long, or does not arrive in time.
    """
    try:
        return await read_bounded(request, _MAX_BODY, _BODY_SECONDS)
    except BodyRefused as refused:
        raise BadRequest(str(refused)) from refused


def refuse_query(request: Request) -> None:
    """Refuse query parameters: no page takes any.

    Raises:
        BadRequest: there are some.
    """
    if request.url.query:
        raise BadRequest(f"{request.url.query[:80]}: query parameters are not taken here")


def _explain(error: ValidationError) -> str:
    """Describe what is wrong with a body, field by field, without echoing it."""
    return "; ".join(f"{_place(detail['loc'])}: {detail['msg']}" for detail in error.errors()[:5])


def _place(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(part)[:64] for part in loc) or "body"


def parse_id(field: str, text: str) -> int:
    """Parse an id in a path.

    Raises:
        BadRequest: it is no whole number from 1 to 2^63 - 1.
    """
    number = _whole(text)
    if not isinstance(number, int) or not 1 <= number <= _INT64:
        raise BadRequest(f"{field}: must be a whole number from 1 to {_INT64}")
    return number


def idempotency_key(request: Request) -> str | None:
    """Return the client's key for this request, if it sent one.

    Raises:
        BadRequest: sent twice, empty, too long, or not plain printable ASCII.
    """
    keys = request.headers.getlist("idempotency-key")
    if len(keys) > 1:
        raise BadRequest("Idempotency-Key: sent more than once")
    if keys and not re.fullmatch(r"[\x20-\x7e]{1,128}", keys[0]):
        raise BadRequest("Idempotency-Key: must be 1 to 128 printable ASCII characters")
    return keys[0] if keys else None


def _no_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {twice[:64]!r} is repeated")
    return fields


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
