"""The faults around a commit: failpoints before and after it, and standing faults."""

from labkit.runtime.db.job import Job
from labkit.runtime.db.ports import CommitClock
from labkit.runtime.injection.failpoints import NOTHING, Action, Failpoints
from labkit.runtime.injection.standing import FaultKind

_POLL_S = 0.02


class Delayed(Exception):
    """The refusal of a commit that is to happen later.

    The step is rolled back, its neighbours go on, and it is run again then.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class CommitFaults:
    """The faults that one process meets around its commits.

    Args:
        service: name of the service.
        failpoints: the failpoints of the process.
        clock: of the process.
    """

    def __init__(self, service: str, failpoints: Failpoints, clock: CommitClock) -> None:
        self._service = service
        self._failpoints = failpoints
        self._clock = clock

    async def slow_down(self, group: list[Job]) -> None:
        """Take longer for a group, as a slow disk would, if a standing fault says so."""
        standing = self._failpoints.standing
        for fault in standing.of(FaultKind.SLOW, self._service):
            # what the runtime looks for by itself, all the time, proves nothing
            slowed = [job for job in group if not job.step.reads or job.expires < float("inf")]
            standing.hit(fault, len(slowed))
            until = self._clock.monotonic() + fault.amount
            while self._clock.monotonic() < until and standing.is_standing(fault):
                await self._clock.sleep(min(_POLL_S, fault.amount))

    def note_stepped_clock(self, group: list[Job]) -> None:
        """Note the steps that write by a wall clock that a standing fault has stepped."""
        standing = self._failpoints.standing
        for fault in standing.of(FaultKind.CLOCK_STEPPED, self._failpoints.process):
            standing.hit(fault, sum(not job.step.reads for job in group))

    def is_armed(self, job: Job) -> bool:
        """Return True if something would happen before the commit of a step."""
        if job.step.reads or job.crossed or self._failpoints.quiet:
            return False
        return self._failpoints.is_armed(self._name(job, "before_commit"))

    def passes(self, job: Job, boundary: str) -> bool:
        """Cross a boundary of a step if no failpoint is armed; return False if one is."""
        return job.step.reads or self._failpoints.passes(self._name(job, boundary))

    async def before_commit(self, job: Job, *, alone: bool) -> None:
        """Cross the boundary that `passes` did not; only a step that runs alone meets an action.

        Raises:
            Refused: the failpoint is armed with `refuse`.
            Delayed: it is armed with `delay`.
        """
        action = self._act(job, "before_commit", may_act=alone)
        if action.verb == "stall":
            await self._clock.sleep(action.seconds)
        elif action.seconds:
            raise Delayed(action.seconds)

    def after_commit(self, job: Job) -> Action:
        """Cross the boundary after the commit, and return what it is armed with."""
        passed = self.passes(job, "after_commit")
        return NOTHING if passed else self._act(job, "after_commit")

    def _act(self, job: Job, boundary: str, *, may_act: bool = True) -> Action:
        name = self._name(job, boundary)
        if may_act and not job.crossed:
            return self._failpoints.act(name)
        self._failpoints.count(name)
        return NOTHING

    def _name(self, job: Job, boundary: str) -> str:
        return f"{self._service}.{job.step.name}.{boundary}"
