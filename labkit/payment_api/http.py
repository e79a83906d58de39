"""Posting forms, for both sides of the platform. (httpx took five times the CPU for each.)"""

import asyncio
import time
from collections.abc import Mapping
from typing import NoReturn
from urllib.parse import urlencode, urlsplit

import aiohttp

from labkit.runtime.injection.network import NetworkPath

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
        trust_env=False,  # the default; a proxy of the environment must not come between
    )


async def post(
    session: aiohttp.ClientSession, url: str, params: Mapping[str, str], way: NetworkPath
) -> tuple[int, bytes]:
    """Post a form.

    Args:
        session: as `open_session` gives it.
        url: where to.
        params: of the form.
        way: what is wrong with the network there.

    Returns:
        Status and body of the answer, 64 KiB of it at most.

    Raises:
        OSError: no whole answer came: refused, broken off, no HTTP, or too late.
    """
    until = time.monotonic() + (session.timeout.total or 0)
    if way.drops():
        await _nothing(until)
    try:
        answer = await _post(session, _connected(url, way), urlencode(params).encode())
    except aiohttp.ClientError as error:
        raise ConnectionError(f"{type(error).__name__}: {error}") from error
    if way.drops(back=True):
        await _nothing(until)
    return answer


async def _post(session: aiohttp.ClientSession, url: str, form: bytes) -> tuple[int, bytes]:
    async with session.post(url, data=form, headers=_FORM, allow_redirects=False) as response:
        body = b""
        while len(body) < _MAX_ANSWER and (part := await response.content.readany()):
            body += part
        return response.status, body


def _connected(url: str, way: NetworkPath) -> str:
    """The address to which a connection is made, which is nobody's where it is refused."""
    parts = urlsplit(url)
    return parts._replace(netloc=way.connects_to(parts.netloc)).geturl()


async def _nothing(until: float) -> NoReturn:
    """What happens where nothing comes: the time passes."""
    await asyncio.sleep(until - time.monotonic())
    raise TimeoutError("nothing came")
