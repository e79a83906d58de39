"""Grouping: which of the jobs that wait are run together, and when."""

from labkit.runtime.clock import Clock
from labkit.runtime.db.errors import RowHeld
from labkit.runtime.db.job import Deliver, Job, JobResults
from labkit.runtime.db.ports import JobQueue
from labkit.runtime.errors import Overloaded

_MAX_GROUP = 100
#: How often those that need a held row are run again, and how many of them at most.
_RETRY_S, _MAX_RETRIED = 0.05, 20


class Grouping:
    """The jobs that wait, new ones and those that need a held row.

    Args:
        queue: the new jobs.
        clock: of the process.
        deliver: hands results to the callers.
    """

    def __init__(self, queue: JobQueue[Job], clock: Clock, deliver: Deliver) -> None:
        self._queue = queue
        self._clock = clock
        self._deliver = deliver
        self._held: list[tuple[Job, RowHeld]] = []
        self._retry_at = 0.0

    async def next_group(self) -> list[Job]:
        """Return all jobs that wait, up to the size of a group; none if the end was asked for."""
        group: list[Job] = []
        while not group:
            ends = await self._gather(group)
            if ends and not group and not self._held:
                return []
            if ends:
                self._queue.put(None)
            group += self._due_again(at_once=not group)
        return group

    def drop_expired(self, group: list[Job]) -> list[Job]:
        """Return the jobs whose callers still wait; the other callers are refused."""
        now = self._clock.monotonic()
        expired = [job for job in group if job.expires < now]
        if expired:
            self._deliver([(job, Overloaded("its caller's time is over")) for job in expired])
        return [job for job in group if job.expires >= now]

    def answer(self, results: JobResults) -> None:
        """Deliver results; a job that met a held row waits and is run again, if it has the time."""
        now = self._clock.monotonic()
        final: JobResults = []
        for job, result in results:
            if isinstance(result, RowHeld):
                job.held_since = job.held_since or now
                if now < job.held_until:
                    self._held.append((job, result))
                    continue
            final.append((job, result))
        if len(final) < len(results) and now >= self._retry_at:
            self._retry_at = now + _RETRY_S
        self._deliver(final)

    async def _gather(self, group: list[Job]) -> bool:
        """Add new jobs to a group, and return True if the end was asked for.

        It waits for the first one, but only until those that need a held row are due.
        """
        while not group or (len(group) < _MAX_GROUP and self._queue.size()):
            wait = max(0.0, self._retry_at - self._clock.monotonic()) if self._held else None
            try:
                job = await self._queue.get(wait)
            except TimeoutError:
                return False
            if job is None:
                return True
            group.append(job)
        return False

    def _due_again(self, *, at_once: bool) -> list[Job]:
        """Take some of those that need a held row, if they are due; refuse those out of time."""
        now = self._clock.monotonic()
        self._deliver([held for held in self._held if now >= held[0].held_until])
        waiting = [held for held in self._held if now < held[0].held_until]
        due = _MAX_RETRIED if at_once or now >= self._retry_at else 0
        self._held = waiting[due:]
        return [job for job, _ in waiting[:due]]
