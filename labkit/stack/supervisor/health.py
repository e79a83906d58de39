"""The health of a lab: each of its processes is asked, at the same time, whether it answers now.

Those that call others ask them too: from the webs to the databases, each edge of the wiring is gone
along and back. Nothing is changed by it.
"""

import asyncio
import json
import socket
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass

import httpx
import psutil

from labkit.home import Home
from labkit.payment_platform.wiring import PLATFORM
from labkit.runtime.errors import Unknown
from labkit.runtime.evolution import write
from labkit.runtime.messaging.admin import AdminService, AskAround, Edge
from labkit.runtime.messaging.inbox import Missing, MissingQuery
from labkit.runtime.rpc.contract import methods_of
from labkit.runtime.rpc.ports import Broken, Busy
from labkit.runtime.rpc.tool_client import ask_once, run_beside
from labkit.shop.wiring import SERVICES
from labkit.stack.supervisor.instances import BROKER
from labkit.stack.supervisor.status import status as recorded_status
from labkit.state import LabStatus, ServiceStatus, label_of
from labkit.waiting import poll_until
from labkit.web.health import PATH, PROCESS, SECRET

#: States of a process in `labkit status`: it answers, or it was started and does not.
UP, SILENT = "up", "silent"
_PROCESS_S, _AROUND_S = 3.0, 5.0
_WHOLE_S = 60.0  # a whole class may start at once
_AGAIN_S = 0.05
#: Kafka's ApiVersions (key 18, version 0, no client id), which every client asks first.
_API_VERSIONS = b"\0\0\0\x0a\0\x12\0\0\0\0\0\x01\xff\xff"

#: Queries to the admin service of a service: whether it reads its database, and whom it reaches.
_QUERIES = {
    "find_missing": MissingQuery(group="nobody", fingerprints={}),
    "ask_around": AskAround(),
}


@dataclass(frozen=True)
class ProcessHealth:
    """The result of asking one process.

    Attributes:
        process: its label, such as `goods-1`.
        error: the reason why it did not answer; empty where it did.
        edges: the services that it calls, each with the error of asking it.
    """

    process: str
    error: str = ""
    edges: tuple[Edge, ...] = ()

    @property
    def problem(self) -> str:
        """Return the first problem, in one line; empty where there is none."""
        if self.error:
            return f"{self.process} does not answer: {self.error}"
        silent = [f"{edge.callee} ({edge.error})" for edge in self.edges if edge.error]
        return f"{self.process} gets no answer from {', '.join(silent)}" if silent else ""


def ask(home: Home) -> dict[str, ProcessHealth]:
    """Ask each process that serves, all at once and for five seconds at most.

    Returns:
        Label → its health, in the order of `labkit status`.
    """
    services = [service for service in recorded_status(home)["services"] if service["endpoint"]]
    if not services:  # a home in which nothing ever ran has no secret
        return {}
    return {health.process: health for health in run_beside(_ask_all(home.secret, services))}


def ask_one(home: Home, label: str) -> ProcessHealth:
    """Ask one process that serves, for five seconds at most.

    A web shares its socket with others of its kind: it is asked until it is the one that answers.
    """
    [service] = [each for each in recorded_status(home)["services"] if label_of(each) == label]
    if not service["endpoint"]:
        return ProcessHealth(label, "it has died")
    return run_beside(_ask_all(home.secret, [service], each_itself=True))[0]


def status(home: Home) -> tuple[LabStatus, list[str]]:
    """Return the status of a lab with the states that processes have now, and all problems."""
    state, healths = recorded_status(home), ask(home)
    for service in state["services"]:
        health = healths.get(label_of(service))
        if health and service["state"] == UP:
            service["state"] = SILENT if health.error else UP
    return state, _problems(healths.values())


def await_whole(home: Home, on_progress: Callable[[str], None], seconds: float = _WHOLE_S) -> None:
    """Wait until each edge of the wiring was gone along, from every process that serves.

    Args:
        home: of the lab.
        on_progress: called with what is being waited for.
        seconds: the longest wait.

    Raises:
        RuntimeError: one does not answer; says which, and why.
    """
    problems: list[str] = []

    def is_whole() -> bool:
        nonlocal problems
        problems = _problems(ask(home).values())
        if problems:
            on_progress(problems[0])
        return not problems

    if not poll_until(is_whole, seconds, _AGAIN_S):
        raise RuntimeError(f"the lab is not whole: {problems[0]} (logs: {home.logs})")


def _problems(healths: Iterable[ProcessHealth]) -> list[str]:
    return [health.problem for health in healths if health.problem]


async def _ask_all(
    secret: str, services: Iterable[ServiceStatus], *, each_itself: bool = False
) -> list[ProcessHealth]:
    async with httpx.AsyncClient(timeout=_AROUND_S, trust_env=False) as http:
        asked = (_ask(secret, http, service, each_itself) for service in services)
        return await asyncio.gather(*asked)


async def _ask(
    secret: str, http: httpx.AsyncClient, service: ServiceStatus, itself: bool
) -> ProcessHealth:
    """Ask a process itself, and beside that the services that it calls.

    A process that waits for others is not silent.
    """
    first, *rest = _questions(secret, http, service, itself)
    pid = service["pid"]
    error, *around = await asyncio.gather(
        _within(_PROCESS_S, first, pid), *(_within(_AROUND_S, question, pid) for question in rest)
    )
    if isinstance(error, str):
        return ProcessHealth(label_of(service), error)
    edges = around[0] if around else ()
    if isinstance(edges, str):  # it answers, but not this
        edges = (Edge(callee="all whom it calls", error=edges),)
    return ProcessHealth(label_of(service), edges=edges)


def _questions(
    secret: str, http: httpx.AsyncClient, service: ServiceStatus, itself: bool
) -> list[Coroutine[object, None, tuple[Edge, ...]]]:
    """Return what to ask a process: first about itself, then about those that it calls."""
    name, endpoint = service["name"], service["endpoint"] or ""
    if name == BROKER:
        return [_ask_broker(endpoint)]
    if name == PLATFORM.name:
        return [_ask_http(http, f"{endpoint}/cashier/of-nobody")]
    if SERVICES[name].contract is None:
        whom = str(service["pid"]) if itself else None
        return [_ask_http(http, f"{endpoint}/nowhere"), _ask_web(http, endpoint, secret, whom)]
    return [_ask_service(name, endpoint, secret, method) for method in _QUERIES]


async def _within(
    seconds: float, question: Coroutine[object, None, tuple[Edge, ...]], pid: int | None
) -> tuple[Edge, ...] | str:
    """Return the answer to a question, or why there was none."""
    try:
        return await asyncio.wait_for(question, seconds)
    except TimeoutError:
        return _explain_silence(pid, seconds)
    except Broken:  # the connection gives up a silent process before we do
        return _explain_silence(pid, seconds)
    except (Busy, Unknown, httpx.HTTPError, OSError, ValueError) as error:
        return str(error) or type(error).__name__


async def _ask_service(name: str, endpoint: str, secret: str, query: str) -> tuple[Edge, ...]:
    """Ask a service for the inbox rows of no event, or to ask around."""
    method, command = methods_of(AdminService)[query], _QUERIES[query]
    body = write(command).encode()
    text = await ask_once(endpoint, name, secret, query, body, _AROUND_S)
    answer: Missing | tuple[Edge, ...] = method.answer.validate_json(text)
    return () if isinstance(answer, Missing) else answer


async def _ask_web(
    http: httpx.AsyncClient, endpoint: str, secret: str, whom: str | None
) -> tuple[Edge, ...]:
    """Ask a web; if a process is named, over and over until it is the one that answers."""
    headers = {SECRET: secret, "Connection": "close"}
    while True:
        answer = await http.get(f"http://{endpoint}{PATH}", headers=headers)
        answer.raise_for_status()
        if whom in (None, answer.headers.get(PROCESS)):
            break
    return tuple(Edge(**edge) for edge in json.loads(answer.text))


async def _ask_http(http: httpx.AsyncClient, address: str) -> tuple[Edge, ...]:
    """Ask for a page that does not exist."""
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


def _explain_silence(pid: int | None, seconds: float) -> str:
    try:
        is_stopped = pid and psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return "it is gone"
    return "it stands still" if is_stopped else f"nothing came in up to {seconds:.0f} s"
