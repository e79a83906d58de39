"""An event loop in virtual time: it never waits, and runs everything in one order.

Steps, flows and the runtime's logic are coroutines of asyncio. On this loop they run unchanged:
`asyncio.sleep` and time-outs take virtual time, of which a second costs nothing. What is ready runs
in the order in which it became so; what is due at one time, in the order in which it was asked for.
"""

import asyncio
import contextvars
import heapq
import math
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, TypeVar

T = TypeVar("T")

#: Returns when what was asked for in a context may run, given the virtual time: infinity is never.
NotBefore = Callable[[contextvars.Context, float], float]


class SimHandle:
    """A callback that is to be run; asyncio's own handle, without its bookkeeping."""

    __slots__ = ("args", "callback", "context", "is_cancelled")

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[object, ...],
        context: contextvars.Context | None,
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = contextvars.copy_context() if context is None else context
        self.is_cancelled = False

    def cancel(self) -> None:
        """Do not run it."""
        self.is_cancelled = True

    def cancelled(self) -> bool:
        """Return True if it is not run."""
        return self.is_cancelled


class SimLoop(asyncio.AbstractEventLoop):
    """The loop.

    Args:
        not_before: tells when something may run.

    Attributes:
        turns: how many callbacks were run.
    """

    def __init__(self, not_before: NotBefore) -> None:
        self._not_before = not_before
        self._now = 0.0
        self._ready: deque[SimHandle] = deque()
        self._timers: list[tuple[float, int, SimHandle]] = []
        self._numbers = count()
        self.turns = 0

    def call_outside(self, delay: float, callback: Callable[..., object], *args: object) -> None:
        """Run a callback after so many seconds, whatever becomes of the process that asks."""
        self.call_at(self._now + delay, callback, *args, context=contextvars.Context())

    def run_until(self, is_done: Callable[[], object], seconds: float) -> bool:
        """Run until something is true; look after each moment in which everything was done.

        Args:
            is_done: looked at before time goes on.
            seconds: of virtual time, at most.

        Returns:
            Whether it became true.
        """
        deadline = self._now + seconds
        asyncio._set_running_loop(self)
        try:
            while True:
                self._run_ready()
                if is_done():
                    return True
                if not self._timers or self._timers[0][0] > deadline:
                    self._now = max(self._now, deadline)
                    return False
                self._go_on()
        finally:
            asyncio._set_running_loop(None)

    def advance(self, seconds: float) -> None:
        """Let time pass while what runs now blocks everything."""
        self._now += seconds

    def stop(self) -> None:
        """Forget everything that was to be run."""
        self._ready.clear()
        self._timers.clear()

    def time(self) -> float:
        """Return the virtual seconds."""
        return self._now

    def call_soon(  # type: ignore[override]  # asyncio needs nothing of the handle but `cancel`
        self,
        callback: Callable[..., object],
        *args: object,
        context: contextvars.Context | None = None,
    ) -> SimHandle:
        """Run a callback after what is ready already."""
        handle = SimHandle(callback, args, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # there is one thread

    def call_at(  # type: ignore[override]  # as `call_soon`
        self,
        when: float,
        callback: Callable[..., object],
        *args: object,
        context: contextvars.Context | None = None,
    ) -> SimHandle:
        """Run a callback at a virtual time."""
        handle = SimHandle(callback, args, context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def call_later(  # type: ignore[override]  # as `call_soon`
        self,
        delay: float,
        callback: Callable[..., object],
        *args: object,
        context: contextvars.Context | None = None,
    ) -> SimHandle:
        """Run a callback after so many virtual seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def create_future(self) -> "asyncio.Future[Any]":
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]  # no generators
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> "asyncio.Task[T]":
        """Start a task, by default in the process that starts it."""
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def run_in_executor(
        self, _executor: object, func: Callable[..., T], *args: object
    ) -> "asyncio.Future[T]":
        """Run a blocking function at once."""
        done: asyncio.Future[T] = self.create_future()
        done.set_result(func(*args))
        return done

    def get_debug(self) -> bool:
        """Return False: asyncio's debugging is off."""
        return False

    def is_running(self) -> bool:
        """Return True: whoever asks is run by it."""
        return True

    def is_closed(self) -> bool:
        """Return False: it holds nothing that could be closed."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Pass over what asyncio reports of tasks whose process died."""

    def _timer_handle_cancelled(self, handle: object) -> None:
        """Keep a cancelled timer; it is passed over when its time comes."""

    def _run_ready(self) -> None:
        """Run what is ready, unless it was cancelled or may run later, or never."""
        ready, not_before, now = self._ready, self._not_before, self._now
        while ready:
            self.turns += 1
            handle = ready.popleft()
            if handle.is_cancelled:
                continue
            when = not_before(handle.context, now)
            if when <= now:
                handle.context.run(handle.callback, *handle.args)
                now = self._now  # what ran may have let time pass
            elif when < math.inf:
                heapq.heappush(self._timers, (when, next(self._numbers), handle))

    def _go_on(self) -> None:
        """Let time pass until the next callbacks are due, and make them ready."""
        timers = self._timers
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            self._ready.append(heapq.heappop(timers)[2])


def wake(waiting: "asyncio.Future[None]") -> None:
    """Let whoever waits go on, if its task was not cancelled meanwhile."""
    if not waiting.done():
        waiting.set_result(None)
