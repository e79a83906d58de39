"""The failpoints of a home, seen from outside: list, arm, disarm, count."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from labkit.home import Home
from labkit.payment_platform.wiring import PLATFORM
from labkit.runtime.injection.boundaries import TIMED, Failpoint
from labkit.runtime.injection.counters import numbers_in
from labkit.runtime.injection.failpoints import Armed, FailpointStore
from labkit.runtime.wiring import failpoints_of
from labkit.shop.wiring import SERVICES
from labkit.stack.boundaries import HELPER, SUPERVISOR, boundaries_of

#: process → its failpoints: of the services, and of what starts them and watches over them.
_POINTS: Mapping[str, list[Failpoint]] = {
    **{service.name: failpoints_of(service) for service in (*SERVICES.values(), PLATFORM)},
    **{name: boundaries_of(name) for name in (SUPERVISOR, HELPER)},
}


class FailpointRow(TypedDict):
    """A failpoint in a list."""

    name: str
    service: str
    boundary: str
    actions: list[str]
    hits: int
    armed: Armed | None


def catalogue() -> dict[str, Failpoint]:
    """Return every failpoint of a lab, by name."""
    return {point.name: point for points in _POINTS.values() for point in points}


def list_all(home: Home) -> list[FailpointRow]:
    """List every failpoint with its actions, its crossings, and what it does next."""
    armed = FailpointStore(home.faults).armed()
    rows: list[FailpointRow] = []
    for name, points in _POINTS.items():
        counts = _hits(home, name, len(points))
        for point, hits in zip(points, counts, strict=True):
            rows.append(
                {
                    "name": point.name,
                    "service": point.service,
                    "boundary": point.boundary,
                    "actions": list(point.actions),
                    "hits": hits,
                    "armed": armed.get(point.name, [None])[0],
                }
            )
    return rows


def arm(home: Home, name: str, action: str, times: int = 1, after: int = 0) -> None:
    """Arm a failpoint.

    Args:
        home: of the lab.
        name: as `list_all` gives it.
        action: `crash`, `refuse`, `delay:SECONDS`, `stall:SECONDS`, `duplicate` or
            `lose`.
        times: the number of crossings on which it acts.
        after: the number of crossings that go by before those.

    Raises:
        ValueError: there is no such failpoint, or it cannot do that; says what there is.
    """
    point = catalogue().get(name)
    if point is None:
        raise ValueError(f"{name}: there is no such failpoint; list them with: labkit failpoints")
    verb = action.partition(":")[0]
    if verb not in point.actions:
        raise ValueError(f"{name} can {', '.join(point.actions)}; not {verb!r}")
    check_seconds(action)
    if times < 1:
        raise ValueError(f"times must be 1 or more, not {times}")
    if after < 0:
        raise ValueError(f"after must be 0 or more, not {after}")
    FailpointStore(home.faults).arm(name, action, times, after)


def check_seconds(action: str) -> None:
    """Refuse an action whose seconds are no number of seconds, such as `delay:nan`.

    Raises:
        ValueError: a delay has no seconds, or too many, or another action has any.
    """
    verb, _, seconds = action.partition(":")
    if (verb in TIMED) != bool(seconds) or (seconds and not _is_seconds(seconds)):
        raise ValueError(
            f"{action!r}: only a delay or a stall has seconds, as delay:2.5, and 3600 at most"
        )


def remaining(home: Home, name: str) -> int:
    """Return the number of crossings on which a failpoint acts still."""
    armings = FailpointStore(home.faults).armed().get(name, [])
    return sum(arming["times"] for arming in armings)


def disarm(home: Home, name: str | None = None) -> None:
    """Disarm one failpoint, or all."""
    FailpointStore(home.faults).clear(name)


def crossed_by(home: Home, service: str, but: int) -> int:
    """Count the boundaries that all instances but one have crossed since the last reset."""
    size = len(failpoints_of(SERVICES[service]))
    files = [file for file in _files(home, service) if file.stem != f"{service}-{but}"]
    return sum(sum(numbers_in(file, size)) for file in files)


def _is_seconds(text: str) -> bool:
    try:
        return 0 <= float(text) <= 3600
    except ValueError:
        return False


def _hits(home: Home, service: str, size: int) -> list[int]:
    counters = [numbers_in(file, size) for file in _files(home, service)]
    return [sum(counter[at] for counter in counters) for at in range(size)]


def _files(home: Home, service: str) -> list[Path]:
    return sorted(home.faults.glob(f"{service}-[0-9]*.hits"))
