"""A network that is cut between two services, at the one end of it that both directions pass.

The caller holds the connection, so that what it sends and what it receives is lost at its end. A
connection that is refused leads to a port of this machine at which nobody listens, and the system
refuses it.
"""

import socket
from collections.abc import Sequence
from functools import cache

from labkit.runtime.injection.standing import FaultKind, StandingFault, StandingFaults

DROPPED, REFUSED = "dropped", "refused"


class NetworkPath:
    """The path from one service to another and back.

    Args:
        faults: the standing faults of the home; None if the path has none.
        caller: the service that calls.
        callee: the service that is called.
    """

    def __init__(self, faults: StandingFaults | None, caller: str, callee: str) -> None:
        self._faults = faults
        self._there, self._back = f"{caller}>{callee}", f"{callee}>{caller}"

    def drops(self, *, back: bool = False) -> bool:
        """Return True if what goes there now, or comes back, gets lost; note the hit then."""
        return self._hits(self._back if back else self._there, DROPPED)

    def connects_to(self, endpoint: str) -> str:
        """Return where a new connection leads: if it is refused, to a port without a listener."""
        return unused_endpoint() if self._hits(self._there, REFUSED) else endpoint

    @property
    def is_refused(self) -> bool:
        """Return True if a new connection would be refused."""
        return bool(self._cuts(self._there, REFUSED))

    def _hits(self, direction: str, mode: str) -> bool:
        cuts = self._cuts(direction, mode)
        for cut in cuts:
            assert self._faults  # which it is from
            self._faults.hit(cut)
        return bool(cuts)

    def _cuts(self, direction: str, mode: str) -> Sequence[StandingFault]:
        cuts = self._faults.of(FaultKind.CUT, direction) if self._faults else ()
        return cuts and [cut for cut in cuts if cut.mode == mode]


#: The path of a caller that is no service of the lab: it has no faults.
UNBROKEN = NetworkPath(None, "", "")


@cache
def _reserved_port() -> socket.socket:
    """Bind a port without listening at it, so that nobody else does."""
    reserved = socket.socket()
    reserved.bind(("127.0.0.1", 0))
    return reserved


def unused_endpoint() -> str:
    """Return an endpoint of this machine at which nobody listens, `host:port`."""
    return "{}:{}".format(*_reserved_port().getsockname())
