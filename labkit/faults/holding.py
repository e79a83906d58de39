"""Keeping processes of a lab down for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from labkit.faults import undo_actions
from labkit.faults.lab_verbs import until
from labkit.faults.undo_notes import undo_note
from labkit.home import Home
from labkit.stack.supervisor import control, launch
from labkit.state import ServiceStatus


def running(home: Home, service: str) -> list[ServiceStatus]:
    """The processes of a service that are alive, as `labkit status` has them."""
    return [one for one in launch.status(home)["services"] if one["name"] == service and one["pid"]]


@contextmanager
def held(home: Home, service: str) -> Iterator[None]:
    """Kill all processes of a service with −9 and keep them down for a block; then they start.

    Raises:
        TimeoutError: one did not die, or was not started again.
    """
    names = [f"{one['name']}-{one['instance']}" for one in running(home, service)]
    with undo_note(home, undo_actions.release, names=names):
        for name in names:
            control.tell(home, "hold", name=name)
        until(lambda: not running(home, service), f"{service} did not die")
        yield
    until(lambda: len(running(home, service)) == len(names), f"{service} was not started again")
