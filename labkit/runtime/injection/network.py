"""A network that is cut between two services, at the one end of it that both directions pass.

Who calls holds the line, so that what goes and what comes is lost at its end; a connection that is
refused is one to a port of this machine at which nobody listens, and the system refuses it.
"""

import socket
from collections.abc import Sequence
from functools import cache

from labkit.runtime.injection.standing import Rule, Rules

DROPPED, REFUSED = "dropped", "refused"


class NetworkPath:
    """The way from one service to another and back.

    Args:
        rules: of the home; None where nothing can be wrong with it.
        here: who calls.
        there: who is called.
    """

    def __init__(self, rules: Rules | None, here: str, there: str) -> None:
        self._rules = rules
        self._going, self._coming = f"{here}>{there}", f"{there}>{here}"

    def loses(self, *, coming: bool = False) -> bool:
        """Whether what goes now, or what comes back, gets lost; then that is noted."""
        return self._meets(self._coming if coming else self._going, DROPPED)

    def connects_to(self, endpoint: str) -> str:
        """Where a new connection leads: where it refused is, nobody listens; then that is noted."""
        return nobody() if self._meets(self._going, REFUSED) else endpoint

    @property
    def is_refused(self) -> bool:
        """Whether a new connection would be refused."""
        return bool(self._found(self._going, REFUSED))

    def _meets(self, about: str, how: str) -> bool:
        met = self._found(about, how)
        for rule in met:
            assert self._rules  # which it is from
            self._rules.meet(rule)
        return bool(met)

    def _found(self, about: str, how: str) -> Sequence[Rule]:
        rules = self._rules.of("cut", about) if self._rules else ()
        return rules and [rule for rule in rules if rule.how == how]


#: The way of who is no service of the lab: nothing is wrong with it.
UNBROKEN = NetworkPath(None, "", "")


@cache
def _silent() -> socket.socket:
    """A port that is ours, so that nobody else listens there, and at which we do not."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound


def nobody() -> str:
    """An endpoint of this machine at which nobody listens, `host:port`."""
    return "{}:{}".format(*_silent().getsockname())
