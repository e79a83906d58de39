"""Reading the body of a request, with a bound on its length and on its time."""

import asyncio

from starlette.requests import Request


class BodyRefused(Exception):
    """A body that is too long or too slow; the message tells its sender which."""


async def read_bounded(request: Request, max_bytes: int, seconds: float) -> bytes:
    """Read a request's body.

    Args:
        request: with the body.
        max_bytes: of the body.
        seconds: until it must have arrived.

    Raises:
        BodyRefused: it is longer, or slower.
    """
    body = b""
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                body += part
                if len(body) > max_bytes:
                    raise BodyRefused(f"body: longer than {max_bytes} bytes")
    except TimeoutError as error:
        raise BodyRefused(f"body: did not arrive within {seconds} s") from error
    return body
