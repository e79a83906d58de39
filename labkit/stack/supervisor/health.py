"""What answers now, asked of each process of a lab: what was started is another question.

Every process is asked at the same time, and those that call others ask them too: from the webs to
the databases, each edge of the wiring is gone along and back. Nothing is changed by it.
"""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import httpx
import psutil

from labkit.home import Home
from labkit.payment_platform.wiring import PLATFORM
from labkit.runtime.errors import Unknown
from labkit.runtime.injection.network import UNBROKEN
from labkit.runtime.messaging.admin import AdminService, AskAround, Edge
from labkit.runtime.messaging.inbox import Missing, MissingQuery
from labkit.runtime.rpc.connection import SECRET, Broken, Busy, Connection
from labkit.runtime.rpc.contract import methods_of
from labkit.runtime.rpc.tool_client import run_beside
from labkit.shop.wiring import SERVICES
from labkit.stack.supervisor import recorded
from labkit.stack.supervisor.instances import BROKER
from labkit.web.health import PATH

#: States of a process in `labkit status`: it answers, or it was started and does not.
UP, SILENT = "up", "silent"
_ASK_SECONDS, _AROUND_SECONDS = 3.0, 5.0
_WHOLE_SECONDS = 60.0  # a whole class may start at once
_AGAIN_SECONDS = 0.05
#: Kafka's ApiVersions (key 18, version 0, no client id), which every client asks first.
_API_VERSIONS = b"\0\0\0\x0a\0\x12\0\0\0\0\0\x01\xff\xff"

#: What a service is asked at its desk: whether it reads its database, and whom it reaches.
_QUESTIONS = {
    "find_missing": MissingQuery(group="nobody", fingerprints={}),
    "ask_around": AskAround(),
}


@dataclass(frozen=True)
class Answer:
    """What came of asking one process.

    Attributes:
        process: its label, as `goods-1`.
        error: why it did not answer; empty where it did.
        edges: whom it calls, and which of these answered it.
    """

    process: str
    error: str = ""
    edges: tuple[Edge, ...] = ()

    @property
    def trouble(self) -> str:
        """What is wrong, in one line; empty where nothing is."""
        if self.error:
            return f"{self.process} does not answer: {self.error}"
        silent = [f"{edge.callee} ({edge.error})" for edge in self.edges if edge.error]
        return f"{self.process} gets no answer from {', '.join(silent)}" if silent else ""


def ask(home: Home) -> dict[str, Answer]:
    """Ask each process that serves, all at once and for five seconds at most.

    Returns:
        Label → what came of it, in the order of `labkit status`.
    """
    services = [one for one in recorded.status(home)["services"] if one["endpoint"]]
    return {answer.process: answer for answer in run_beside(_ask_all(home, services))}


def status(home: Home) -> tuple[dict[str, Any], list[str]]:
    """Return `recorded.status`, its states by what answers now, and what is wrong in lines."""
    state, answers = recorded.status(home), ask(home)
    for one in state["services"]:
        answer = answers.get(_label(one))
        if answer and one["state"] == UP:
            one["state"] = SILENT if answer.error else UP
    return state, [answer.trouble for answer in answers.values() if answer.trouble]


def await_whole(
    home: Home, progress: Callable[[str], None], seconds: float = _WHOLE_SECONDS
) -> None:
    """Wait until each edge of the wiring was gone along, from every process that serves.

    Args:
        home: of the lab.
        progress: told what is being waited for.
        seconds: how long it is waited for.

    Raises:
        RuntimeError: one does not answer; says which, and why.
    """
    deadline = time.monotonic() + seconds
    while trouble := [one.trouble for one in ask(home).values() if one.trouble]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the lab is not whole: {trouble[0]} (logs: {home.logs})")
        progress(trouble[0])
        time.sleep(_AGAIN_SECONDS)


async def _ask_all(home: Home, services: list[dict[str, Any]]) -> list[Answer]:
    async with httpx.AsyncClient(timeout=_AROUND_SECONDS, trust_env=False) as http:
        return await asyncio.gather(*(_ask(home, http, service) for service in services))


async def _ask(home: Home, http: httpx.AsyncClient, one: dict[str, Any]) -> Answer:
    """Ask a process itself, and beside that whom it calls: who waits for others is not silent."""
    name, endpoint = one["name"], one["endpoint"]
    if name == BROKER:
        asked = [_ask_broker(endpoint)]
    elif name == PLATFORM.name:
        asked = [_ask_http(http, f"{endpoint}/cashier/of-nobody")]
    elif SERVICES[name].contract is None:
        asked = [_ask_http(http, f"{endpoint}/nowhere"), _ask_web(http, endpoint, home.secret)]
    else:
        asked = [_ask_service(name, endpoint, home.secret, method) for method in _QUESTIONS]
    error, *around = await asyncio.gather(
        _within(_ASK_SECONDS, asked[0], one["pid"]),
        *(_within(_AROUND_SECONDS, question, one["pid"]) for question in asked[1:]),
    )
    if isinstance(error, str):
        return Answer(_label(one), error)
    edges = around[0] if around else ()
    if isinstance(edges, str):  # it answers, but not this
        edges = (Edge(callee="all whom it calls", error=edges),)
    return Answer(_label(one), edges=edges)


async def _within(
    seconds: float, question: Coroutine[Any, Any, tuple[Edge, ...]], pid: int | None
) -> tuple[Edge, ...] | str:
    """Return the answer to a question, or why there was none."""
    try:
        return await asyncio.wait_for(question, seconds)
    except TimeoutError:
        return _why_silent(pid, seconds)
    except Broken:  # the line gives up who says nothing before we do
        return _why_silent(pid, seconds)
    except (Busy, Unknown, httpx.HTTPError, OSError, ValueError) as error:
        return str(error) or type(error).__name__


async def _ask_service(name: str, endpoint: str, secret: str, question: str) -> tuple[Edge, ...]:
    """Ask a service for the inbox rows of no event, or to ask around."""
    method, command = methods_of(AdminService)[question], _QUESTIONS[question]
    link = Connection(endpoint, name, secret, 1, lambda _link: None, UNBROKEN)
    try:
        body = method.request.dump_json(command)
        text = await link.ask(question, body, time.monotonic() + _AROUND_SECONDS)
    finally:
        await link.close()
    answer: Missing | tuple[Edge, ...] = method.answer.validate_json(text)
    return () if isinstance(answer, Missing) else answer


async def _ask_web(http: httpx.AsyncClient, endpoint: str, secret: str) -> tuple[Edge, ...]:
    answer = await http.get(f"http://{endpoint}{PATH}", headers={SECRET: secret})
    answer.raise_for_status()
    return tuple(Edge(**edge) for edge in json.loads(answer.text))


async def _ask_http(http: httpx.AsyncClient, address: str) -> tuple[Edge, ...]:
    """Ask for what is not there."""
    answer = await http.get(f"http://{address}")
    if answer.is_server_error:
        raise ValueError(f"HTTP {answer.status_code}")
    return ()


async def _ask_broker(endpoint: str) -> tuple[Edge, ...]:
    host, _, port = endpoint.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), family=socket.AF_INET)
    try:
        writer.write(_API_VERSIONS)
        if not await reader.read(4):
            raise ConnectionError("it hung up")
    finally:
        writer.close()
    return ()


def _why_silent(pid: int | None, seconds: float) -> str:
    try:
        still = pid and psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return "it is gone"
    return "it stands still" if still else f"nothing came in up to {seconds:.0f} s"


def _label(one: dict[str, Any]) -> str:
    return f"{one['name']}-{one['instance']}"
