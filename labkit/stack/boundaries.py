"""The boundaries of the supervisor and of its helpers: where a lab itself can be made to fail.

They are failpoints like those of the services, named `supervisor.step.boundary` and
`helper.step.boundary`. A helper is a process that the supervisor forks for one piece of work which
opens connections: putting the first data in, making keys, topics, schemas.
"""

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from labkit.home import Home
from labkit.runtime.injection.boundaries import KINDS, Failpoint
from labkit.runtime.injection.failpoints import Failpoints, FailpointStore, Refused

#: Crosses the boundary of that name.
Cross: TypeAlias = Callable[[str], object]
SUPERVISOR, HELPER = "supervisor", "helper"
#: process → step → what is crossed in it.
_STEPS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    SUPERVISOR: {
        "start": ("stop", "fill"),
        "write_state": ("rename",),
        "start_helper": ("fork",),
        "start_process": ("fork",),
        "reset": ("stop", "fill"),
        "scale": ("stop",),
        "down": ("stop",),
    },
    HELPER: {
        "fill": ("work", "rename"),
        "put_aside": ("rename",),
        "seed_database": ("work",),
        "make_keys": ("work",),
        "make_topics": ("work",),
        "remove_topics": ("work",),
        "prepare_mysql": ("work",),
        "prepare_zookeeper": ("work",),
        "make_ready": ("work",),
        "migrate": ("statement",),
    },
}
#: The files that the supervisor has open or needs in the folder of faults.
_KEPT = frozenset({"armed.json", "lock", "turn", f"{SUPERVISOR}-1.hits", f"{HELPER}-1.hits"})


def uncrossed(_name: str) -> None:
    """Cross a boundary where no lab is, so that nothing can be armed."""


def boundaries_of(name: str) -> list[Failpoint]:
    """Return every failpoint of the supervisor, or of its helpers, in a fixed order."""
    return [Failpoint(name, step, boundary) for step, boundary in _boundaries(_STEPS[name])]


def failpoints_in(home: Home, name: str) -> Failpoints:
    """Open the failpoints of the supervisor or of a helper, as this process crosses them."""
    return Failpoints(home.faults, f"{name}-1", boundaries_of(name))


def clear_faults(home: Home) -> None:
    """Disarm and forget the faults of a home, and how often each failpoint was crossed.

    Those of the supervisor and its helpers stay armed, so that a reset can be made to fail itself.
    No service may run: it would go on counting in files that are gone.
    """
    for path in home.faults.iterdir():
        if path.name not in _KEPT:
            path.unlink(missing_ok=True)
    FailpointStore(home.faults).keep((SUPERVISOR, HELPER))


def cross_fork(failpoints: Failpoints, name: str) -> None:
    """Cross the boundary before a fork.

    Raises:
        OSError: it is armed to be refused, as by a system that has no process left.
    """
    try:
        failpoints.cross(name)
    except Refused as error:
        raise BlockingIOError(errno.EAGAIN, f"{os.strerror(errno.EAGAIN)} ({error})") from error


def _boundaries(steps: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    for step, kinds in steps.items():
        yield from ((step, boundary) for kind in kinds for boundary in KINDS[kind])
