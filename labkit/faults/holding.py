"""The processes of a lab that are kept down for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from labkit.faults import undo_actions
from labkit.faults.lab_verbs import label_of
from labkit.faults.undo_notes import undo_note
from labkit.home import Home
from labkit.stack.supervisor import control, launch
from labkit.state import ServiceStatus
from labkit.waiting import wait_until


def running(home: Home, service: str) -> list[ServiceStatus]:
    """Return the processes of a service that are alive, as `labkit status` has them."""
    return [
        process
        for process in launch.status(home)["services"]
        if process["name"] == service and process["pid"]
    ]


@contextmanager
def held(home: Home, service: str) -> Iterator[None]:
    """Kill all processes of a service with −9 and keep them down for a block; then they start.

    Raises:
        TimeoutError: one did not die, or was not started again.
    """
    names = [label_of(process) for process in running(home, service)]
    with undo_note(home, undo_actions.release, names=names):
        for name in names:
            control.tell(home, "hold", name=name)
        wait_until(lambda: not running(home, service), f"{service} is dead")
        yield
    wait_until(lambda: len(running(home, service)) == len(names), f"{service} is started again")
