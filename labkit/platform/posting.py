"""Posting forms, for both sides of the platform. (httpx took five times the CPU for each.)"""

from collections.abc import Mapping
from urllib.parse import urlencode

import aiohttp

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_MAX_ANSWER = 64 * 1024
_KEEP_SECONDS = 2.0  # an idle connection: shorter than any server keeps it


def open_session(at_once: int, seconds: float) -> aiohttp.ClientSession:
    """Connections that stay open, kept by the running loop.

    Args:
        at_once: how many forms may be on their way; the next waits.
        seconds: what one may take, from asking for it to the end of the answer.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=at_once, keepalive_timeout=_KEEP_SECONDS),
        timeout=aiohttp.ClientTimeout(total=seconds),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def post(
    session: aiohttp.ClientSession, url: str, params: Mapping[str, str]
) -> tuple[int, bytes]:
    """Post a form.

    Returns:
        Status and body of the answer, 64 KiB of it at most.

    Raises:
        OSError: no whole answer came: refused, broken off, no HTTP, or too late.
    """
    try:
        form = urlencode(params).encode()
        async with session.post(url, data=form, headers=_FORM, allow_redirects=False) as response:
            body = b""
            while len(body) < _MAX_ANSWER and (part := await response.content.readany()):
                body += part
            return response.status, body
    except aiohttp.ClientError as error:
        raise ConnectionError(f"{type(error).__name__}: {error}") from error
