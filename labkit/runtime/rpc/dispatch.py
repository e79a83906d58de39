"""Dispatching: which handler answers a call, and what its caller is told."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from labkit.runtime.clock import Clock
from labkit.runtime.errors import Overloaded, in_one_line
from labkit.runtime.evolution import Upcasts, read
from labkit.runtime.rpc.contract import Method, methods_of
from labkit.runtime.rpc.ports import Handler, Work
from labkit.runtime.rpc.protocol import HEALTH, PING, Call, Outcome
from labkit.runtime.telemetry import tracing
from labkit.runtime.telemetry.context import checked
from labkit.runtime.telemetry.kinds import Kind

log = logging.getLogger(__name__)

#: Sends the answer to a call.
Send = Callable[[Call, Outcome, bytes], None]

_PATIENCE_S = 1.0  # that what is under way has when the service stops


class Dispatcher:
    """Carries calls out by the handlers of a service.

    Args:
        service: its name, for people.
        clock: what the callers' deadlines are measured by.

    Attributes:
        stuck: names of the threads that must move and do not: the service is not well.
    """

    def __init__(self, service: str, clock: Clock) -> None:
        self._service = service
        self._clock = clock
        self._methods: dict[str, tuple[Method, Handler, Upcasts]] = {}
        self._under_way: set[Work] = set()
        self._leaving = False
        self.stuck: Sequence[str] = ()

    def add(
        self, contract: type, handlers: Mapping[str, Handler], upcasts: Upcasts | None = None
    ) -> None:
        """Serve each method of a contract.

        Args:
            contract: of the service.
            handlers: method → what carries a call out.
            upcasts: bring older versions of the requests up to date.
        """
        for name, method in methods_of(contract).items():
            self._methods[name] = method, handlers[name], upcasts or {}

    def begin(self, call: Call, send: Send) -> None:
        """Begin to carry a call out; its answer is sent when it is done."""
        if call.method == PING:
            return send(call, Outcome.DONE, b"")
        if call.method == HEALTH:
            text = f"{', '.join(self.stuck)} does not move" if self.stuck else ""
            return send(call, Outcome.FAILED if text else Outcome.DONE, text.encode())
        if self._leaving:
            return send(call, Outcome.LEAVING, b"")
        try:
            method, handle, upcasts = self._methods[call.method]
            command = read(method.request, call.body, upcasts)
            # The work goes on when the caller stops waiting: what was begun ends, known or not.
            expires = self._clock.monotonic() + call.timeout_ms / 1000
            start = _traced if tracing.on else _plain
            work = start(call, handle, command, expires)
        except Overloaded as overloaded:
            return send(call, Outcome.BUSY, str(overloaded).encode())
        except (KeyError, ValueError) as error:
            text = f"{call.method} of {self._service}: {type(error).__name__}: {error}"
            return send(call, Outcome.FAILED, text.encode())
        self._under_way.add(work)
        work.add_done_callback(lambda done: self._end(call, method, done, send))
        return None

    async def stop(self) -> None:
        """Begin nothing more, and answer what is under way."""
        self._leaving = True
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=_PATIENCE_S)

    def _end(self, call: Call, method: Method, work: Work, send: Send) -> None:
        self._under_way.discard(work)
        try:
            # a stored answer comes back with plain data: the same JSON, another Python type
            send(call, Outcome.DONE, method.answer.dump_json(work.result(), warnings=False))
        except Overloaded as overloaded:
            send(call, Outcome.BUSY, str(overloaded).encode())
        except Exception as error:  # whatever it was, the caller must learn that it failed
            log.warning("%s of %s failed: %s", call.method, self._service, error)
            send(call, Outcome.FAILED, in_one_line(error).encode())


def _plain(_call: Call, handle: Handler, command: object, expires: float) -> Work:
    return handle(command, expires)


def _traced(call: Call, handle: Handler, command: object, expires: float) -> Work:
    order_id = tracing.order_of(command)
    with tracing.span(call.method, Kind.SERVE, checked(call.trace), order_id=order_id) as span:
        work = handle(command, expires)
        span.until(work)
    return work
