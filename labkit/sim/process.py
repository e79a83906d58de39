"""Simulated processes: what runs belongs to one, and ends with it at any moment."""

from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import TypeVar

T = TypeVar("T")

_PROCESS: "ContextVar[Process | None]" = ContextVar("process", default=None)


class Crashed(BaseException):
    """The death of the process that raises it, at the moment at which it does."""


class Process:
    """One process: all that it starts runs in its context, and nothing of it after its death.

    Args:
        service: whose process it is.
        number: among those of the service, from 1.
        life: which process of that name it is, from 1.

    Attributes:
        name: as `goods-1`.
        endpoint: where it answers, which no other process ever does.
        is_alive: whether it has not died.
        ahead_ms: by how much its wall clock is ahead.
    """

    def __init__(self, service: str, number: int, life: int) -> None:
        self.service = service
        self.number = number
        self.life = life
        self.name = f"{service}-{number}"
        self.endpoint = f"{self.name}:{life}"
        self.is_alive = True
        self.ahead_ms = 0
        self._at_death: list[Callable[[], None]] = []
        self._context = copy_context()
        self._context.run(_PROCESS.set, self)

    def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Run something in this process; what it starts belongs to it."""
        return self._context.copy().run(work, *arguments)

    @property
    def context(self) -> Context:
        """Return a context of this process."""
        return self._context.copy()

    def at_death(self, work: Callable[[], None]) -> None:
        """Run something when it dies: what others notice of that."""
        self._at_death.append(work)

    def die(self) -> None:
        """Die: nothing of it runs any more."""
        self.is_alive = False
        for work in self._at_death:
            work()


def current() -> Process | None:
    """Return the process whose code runs now; None outside of all."""
    return _PROCESS.get()


def is_alive(context: Context) -> bool:
    """Return True if what was asked for in a context is still to be run."""
    process = context.get(_PROCESS)
    return process is None or process.is_alive
