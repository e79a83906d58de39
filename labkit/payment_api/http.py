"""Posting forms, for both shop and platform. (httpx took five times the CPU for each.)"""

import asyncio
import time
from collections.abc import Mapping
from typing import NoReturn, Protocol
from urllib.parse import urlencode, urlsplit

import aiohttp

from labkit.runtime.injection.network import UNBROKEN, NetworkPath

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_MAX_ANSWER = 64 * 1024
_KEEP_SECONDS = 2.0  # an idle connection: shorter than any server keeps it


class Poster(Protocol):
    """Posts forms."""

    async def post(self, url: str, params: Mapping[str, str]) -> tuple[int, bytes]:
        """Post a form.

        Args:
            url: where to.
            params: of the form.

        Returns:
            Status and body of the answer, 64 KiB of it at most.

        Raises:
            OSError: no whole answer came: it was refused, broken off, no HTTP, or too late.
        """
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class HttpPoster:
    """The port `Poster`, on a session of the running loop that keeps its connections open.

    Args:
        at_once: connections at most; the next form waits.
        seconds: of one form, from its request to the end of its answer.
        way: the faults of the network on the way there.
    """

    def __init__(self, at_once: int, seconds: float, way: NetworkPath = UNBROKEN) -> None:
        self._seconds = seconds
        self._way = way
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=at_once, keepalive_timeout=_KEEP_SECONDS),
            timeout=aiohttp.ClientTimeout(total=seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,  # the default; a proxy of the environment must not come between
        )

    async def post(self, url: str, params: Mapping[str, str]) -> tuple[int, bytes]:
        """Post a form, as `Poster.post` has it."""
        until = time.monotonic() + self._seconds
        if self._way.drops():
            await _time_out(until)
        try:
            form = urlencode(params).encode()
            answer = await _post(self._session, _address(url, self._way), form)
        except aiohttp.ClientError as error:
            raise ConnectionError(f"{type(error).__name__}: {error}") from error
        if self._way.drops(back=True):
            await _time_out(until)
        return answer

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


async def _post(session: aiohttp.ClientSession, url: str, form: bytes) -> tuple[int, bytes]:
    async with session.post(url, data=form, headers=_FORM, allow_redirects=False) as response:
        body = b""
        while len(body) < _MAX_ANSWER and (part := await response.content.readany()):
            body += part
        return response.status, body


def _address(url: str, way: NetworkPath) -> str:
    """Return the URL to connect to; a fault that refuses connections leads to a dead address."""
    parts = urlsplit(url)
    return parts._replace(netloc=way.connects_to(parts.netloc)).geturl()


async def _time_out(until: float) -> NoReturn:
    """Wait until the time is over, as if nothing came."""
    await asyncio.sleep(until - time.monotonic())
    raise TimeoutError("nothing came")
