"""Reading the body of a request that somebody sends us: never more, nor longer, than we want."""

import asyncio

from starlette.requests import Request


class BodyRefused(Exception):
    """A body that is too long or too slow; the message says which, for who sent it."""


async def read_bounded(request: Request, most: int, seconds: float) -> bytes:
    """A request's body.

    Args:
        request: whose.
        most: bytes that it may have.
        seconds: that it may take to arrive.

    Raises:
        BodyRefused: it is longer, or slower.
    """
    body = b""
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                body += part
                if len(body) > most:
                    raise BodyRefused(f"body: longer than {most} bytes")
    except TimeoutError as error:
        raise BodyRefused(f"body: did not arrive within {seconds} s") from error
    return body
