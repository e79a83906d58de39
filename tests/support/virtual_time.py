"""A scheduler with a virtual clock: it runs coroutines of the runtime with no thread or wait."""

import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from itertools import count
from typing import Any

from labkit.runtime.db.job import Job

Resume = Callable[..., None]


class Suspension:
    """Suspends a coroutine until somebody resumes it.

    Args:
        register: is given the function that resumes it, with a value or an error.
    """

    def __init__(self, register: Callable[[Resume], None]) -> None:
        self._register = register

    def __await__(self) -> Generator["Suspension", Any, Any]:
        return (yield self)

    def start(self, resume: Resume) -> None:
        """Hand out the function that resumes the coroutine."""
        self._register(resume)


class VirtualClock:
    """The scheduler, and the clock port of the logic that it runs."""

    def __init__(self) -> None:
        self._now = 0.0
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def monotonic(self) -> float:
        """Return the virtual seconds."""
        return self._now

    def wall_ms(self) -> int:
        """Return a wall clock that began in 2026."""
        return 1_767_225_600_000 + int(self._now * 1000)

    async def sleep(self, seconds: float) -> None:
        """Wait so many virtual seconds."""
        await Suspension(lambda resume: self.at(self._now + seconds, resume))

    def call_later(self, seconds: float, work: Callable[[Any], None], argument: Any) -> None:
        """Call something in so many virtual seconds."""
        self.at(self._now + seconds, lambda: work(argument))

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call something at a virtual time."""
        heapq.heappush(self._calls, (when, next(self._numbers), call))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a coroutine."""
        self._step(work, None, None)

    def run(self) -> None:
        """Run until nothing is to be done any more."""
        while self._calls:
            self._now, _, call = heapq.heappop(self._calls)
            call()

    def _step(self, work: Any, value: Any, error: BaseException | None) -> None:
        try:
            suspension = work.throw(error) if error else work.send(value)
        except StopIteration:
            return
        suspension.start(lambda value=None, error=None: self._step(work, value, error))


class VirtualQueue:
    """The queue port of group commit, in virtual time.

    Args:
        clock: the scheduler.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._jobs: deque[Job | None] = deque()
        self._waiting: Resume | None = None

    def put(self, job: Job | None) -> None:
        """Add a job, and wake the coroutine that waits for one, after all that happens now."""
        self._jobs.append(job)
        if resume := self._waiting:
            self._waiting = None
            self._clock.at(self._clock.monotonic(), resume)

    async def get(self, timeout: float | None) -> Job | None:
        """Take the next job."""
        if not self._jobs:
            await Suspension(lambda resume: self._wait(resume, timeout))
        return self._jobs.popleft()

    def size(self) -> int:
        """Return how many jobs wait."""
        return len(self._jobs)

    def _wait(self, resume: Resume, timeout: float | None) -> None:
        self._waiting = resume
        if timeout is not None:
            self._clock.at(self._clock.monotonic() + timeout, lambda: self._give_up(resume))

    def _give_up(self, resume: Resume) -> None:
        if self._waiting is resume:
            self._waiting = None
            resume(error=TimeoutError())
