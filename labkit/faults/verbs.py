"""The faults of a lab, as a notebook uses them: each is mended when its block ends."""

from collections.abc import Iterator

from labkit.faults import points, undo_actions
from labkit.faults.clocks import ClockVerbs
from labkit.faults.disks import DiskVerbs
from labkit.faults.messages import MessageVerbs
from labkit.faults.network import NetworkVerbs
from labkit.faults.points import FailpointRow
from labkit.faults.processes import ProcessVerbs
from labkit.faults.servers import ServerVerbs
from labkit.faults.undo_notes import undo_note
from labkit.faults.verb import Reach, verb


class Faults(MessageVerbs, NetworkVerbs, ClockVerbs, ProcessVerbs, ServerVerbs, DiskVerbs):
    """The faults of one lab.

    Args:
        home: of the lab.
    """

    def list(self) -> list[FailpointRow]:
        """List every failpoint: name, service, boundary, actions, hits."""
        return points.list_all(self._home)

    def hits(self, name: str) -> int:
        """Return how often a failpoint was crossed since the last reset, armed or not."""
        return next(int(point["hits"]) for point in self.list() if point["name"] == name)

    def arm(self, name: str, action: str, times: int = 1, after: int = 0) -> None:
        """Arm a failpoint and leave it armed; see `armed` for one that mends itself."""
        points.arm(self._home, name, action, times, after)

    def disarm(self, name: str | None = None) -> None:
        """Disarm one failpoint, or all."""
        points.disarm(self._home, name)

    @verb
    def armed(self, name: str, action: str, times: int = 1, after: int = 0) -> Iterator[Reach]:
        """Arm a failpoint: it acts on its next crossings.

        Args:
            name: as `list` gives it.
            action: `crash`, `refuse`, `delay:SECONDS` or `duplicate`.
            times: how many crossings it acts on.
            after: how many go by before those.
        """
        acted: int | None = None

        def count() -> int:
            return times - points.remaining(self._home, name) if acted is None else acted

        with undo_note(self._home, undo_actions.disarm, failpoint=name):
            points.arm(self._home, name, action, times, after)
            try:
                yield Reach(count, f"the failpoint {name} was never reached")
            finally:
                acted = count()
