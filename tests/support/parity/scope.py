"""The matrix's scenarios that the twin plays, and those that it cannot, each with the reason."""

from labkit.matrix import SCENARIOS

_PROCESSES = "it is about the supervisor and its helpers, and the twin has none"
_BROKER_DISK = "the broker loses its whole log, and the simulated one keeps its log"
#: Scenario → why it is not the twin's.
NOT_THE_TWINS = {
    "first-up": _PROCESSES,
    "up-again": _PROCESSES,
    "reset": _PROCESSES,
    "scale": _PROCESSES,
    "down": _PROCESSES,
    "all-killed": _PROCESSES,
    "forgotten": _BROKER_DISK,
    "forgotten-paid": _BROKER_DISK,
    "stalled": "a transaction hangs, and in the twin each runs in one piece",
}
#: All others: a new one is played, until a reason stands above.
PLAYED = tuple(name for name in SCENARIOS if name not in NOT_THE_TWINS)
