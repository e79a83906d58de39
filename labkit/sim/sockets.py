"""The sockets of the webs and the platform, which outlive the processes that serve on them."""

from collections.abc import Callable
from typing import Any

from labkit.sim.process import Process

#: Begins to serve a request, in a process that serves by something.
Begin = Callable[[Process, Any], None]


class SimSocket:
    """A socket on which the supervisor listens, and one process after the other serves.

    A request that comes while there is none waits for the next one, whatever becomes meanwhile of
    whoever sent it.

    Args:
        service: whose socket it is.
    """

    def __init__(self, service: str) -> None:
        self.service = service
        self._process: Process | None = None
        self._served: Any = None
        self._waiting: list[Begin] = []

    @property
    def is_served(self) -> bool:
        """Return True if a process serves on it."""
        return self._process is not None and self._process.is_alive

    def serve(self, process: Process, served: Any) -> None:
        """Serve on it from now on, and what waits at first.

        Args:
            process: serves.
            served: by which it does.
        """
        self._process, self._served = process, served
        waiting, self._waiting = self._waiting, []
        for begin in waiting:
            begin(process, served)

    def deliver(self, begin: Begin) -> None:
        """Bring a request, which is served now or by the next process."""
        if self._process and self._process.is_alive:
            begin(self._process, self._served)
        else:
            self._waiting.append(begin)
