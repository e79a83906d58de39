"""Replacing: commands that start and end processes while a lab is up, to scale and to upgrade."""

from collections.abc import Callable
from typing import Protocol

from labkit.home import Home
from labkit.runtime.injection.failpoints import Failpoints
from labkit.stack.releases.notes import note, releases_of
from labkit.stack.releases.release import Release, installed, own
from labkit.stack.supervisor.child import Child
from labkit.stack.supervisor.children import Children
from labkit.stack.supervisor.instances import check_instances
from labkit.stack.supervisor.preparation import CannotStart

_MODEST_S = 240  # that a process takes to start which lets others go first, on a busy machine


class Loop(Protocol):
    """The part of the supervisor that goes on while processes come and go."""

    def write_state(self) -> None:
        """Write the state, and let the processes work that it names."""

    def await_that(
        self, condition: Callable[[], bool], complaint: str, seconds: float = ...
    ) -> None:
        """Go on until a condition holds."""


class Replacing:
    """Starts and ends processes of one home.

    Args:
        home: where the lab lives.
        instances: service → how many a lab has of it, which a change of scale notes.
        children: the processes.
        failpoints: of the supervisor.
        loop: goes on meanwhile.
    """

    def __init__(
        self,
        home: Home,
        instances: dict[str, int],
        children: Children,
        failpoints: Failpoints,
        loop: Loop,
    ) -> None:
        self._home = home
        self._instances = instances
        self._children = children
        self._failpoints = failpoints
        self._loop = loop

    def scale(self, numbers: dict[str, int]) -> None:
        """Change the number of instances; wait until the new ones serve and the old ones left."""
        self._instances |= numbers
        changed = [
            child
            for name, number in numbers.items()
            for child in self._children.scale(name, number, release_of(self._home, name))
        ]
        self._loop.write_state()
        if any(child.leaves_by for child in changed):
            self._failpoints.cross("supervisor.scale.after_stop")

        def is_done() -> bool:
            present = self._children.all
            return all(
                child.endpoint and not child.leaves_by for child in changed if child in present
            )

        self._loop.await_that(is_done, "not all came up or went")

    def start(self, name: str, release: str) -> None:
        """Start one more process of a service, of a release; wait until it serves.

        Where it dies before, it is not tried again, and nothing of it stays.
        """
        check_instances({name: len(self._children.of(name))})  # one more than a lab can have is due
        child = self._children.add(name, installed(self._home, release))
        child.held = True  # it gets no second life before it has served
        self._loop.write_state()
        try:
            self._loop.await_that(
                lambda: bool(child.endpoint) or child.started_in_vain,
                f"{child.label} does not serve",
                _MODEST_S,
            )
        finally:
            child.held = not child.endpoint
            if child.held:
                self._leave(child)
        if not child.endpoint:
            text = f"{child.label} of release {release} dies at start"
            raise CannotStart(f"{text}: {self._last_words(child)}")

    def retire(self, label: str) -> None:
        """Let a process finish and leave, unless it is the last one of its service that serves."""
        child = self._children.get(label)
        others = [each for each in self._children.of(child.name) if each.endpoint]
        if not [each for each in others if each is not child and not each.leaves_by]:
            raise ValueError(f"{label} is the last of {child.name} that serves")
        self._failpoints.cross("supervisor.scale.before_stop")
        self._leave(child)
        self._failpoints.cross("supervisor.scale.after_stop")

    def note_release(self, name: str, release: str) -> None:
        """Note which release a service is of, for the next time that it comes up."""
        chosen = installed(self._home, release)
        others = [child.label for child in self._children.of(name) if child.release != chosen]
        if others or not self._children.of(name):
            text = f"{', '.join(others) or name} is not of release {release}"
            raise ValueError(f"{text}: run the same upgrade again")
        note(self._home, name, chosen)

    def _leave(self, child: Child) -> None:
        """Let a process finish and leave, and wait until it has."""
        self._children.retire(child)
        self._loop.write_state()
        self._loop.await_that(
            lambda: child not in self._children.all, f"{child.label} does not leave"
        )

    def _last_words(self, child: Child) -> str:
        """Return the last line in the log of a process."""
        lines = self._children.log_of(child.label).read_text("utf-8", "replace").splitlines()
        return lines[-1] if lines else "its log is empty"


def release_of(home: Home, name: str) -> Release:
    """Return the release that a service is of."""
    return releases_of(home).get(name) or own()
