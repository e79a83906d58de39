"""Simulated failpoints: the same names as in a lab, and what happens at each is decided there."""

from collections.abc import Callable, Mapping, Sequence

from labkit.runtime.injection.boundaries import BOUNDARIES, TIMED
from labkit.runtime.injection.failpoints import NOTHING, Action, Failpoints, Refused
from labkit.runtime.injection.standing import FaultKind, StandingFault, StandingFaults
from labkit.runtime.wiring import Service, failpoints_of
from labkit.sim.deviations import CALM, Decisions
from labkit.sim.process import Crashed, Process

#: How late something may be (seconds): later than its neighbours, than a sweep or a scan, than a
#: call has, and than a flow has and an order may be undecided.
DELAYS_S = (0.004, 0.8, 1.5, 5.0)
#: What can happen at any failpoint of the twin, and only there: all processes die at once.
POWER_CUT = "power-cut"
#: What is not done here: the simulated broker loses messages by itself.
_NOT_SIMULATED = ("lose",)
#: For how long a transaction hangs: longer than a call has, and than a flow has.
_STALLS_S = DELAYS_S[2:]


def _actions_at(boundary: str) -> tuple[str, ...]:
    actions = [POWER_CUT]
    for action in (each for each in BOUNDARIES[boundary] if each not in _NOT_SIMULATED):
        times = _STALLS_S if action == "stall" else DELAYS_S
        actions += [f"{action}:{s:g}" for s in times] if action in TIMED else [action]
    return tuple(actions)


_ACTIONS = {boundary: _actions_at(boundary) for boundary in BOUNDARIES}


def actions_of(service: Service) -> Mapping[str, Sequence[str]]:
    """Return every failpoint of a service, with what can happen there."""
    return {point.name: _ACTIONS[point.boundary] for point in failpoints_of(service)}


class NoStandingFaults(StandingFaults):
    """Standing faults, of which there are none: what lasts in a simulation is decided elsewhere."""

    def __init__(self) -> None:
        pass

    def of(self, kind: FaultKind, target: str) -> Sequence[StandingFault]:  # noqa: ARG002
        """Return none."""
        return ()


class SimFailpoints(Failpoints):
    """The failpoints of one simulated process.

    Args:
        process: the process.
        decisions: decide what happens.
        actions: every failpoint that the process can cross → what can happen there.
        cut_power: kills all processes.
    """

    def __init__(
        self,
        process: Process,
        decisions: Decisions,
        actions: Mapping[str, Sequence[str]],
        cut_power: Callable[[], None],
    ) -> None:
        self._cut_power = cut_power
        self.process = process.name
        self.standing = NoStandingFaults()
        self._of = process
        self._decisions = decisions
        self._actions = actions
        #: what was decided before a commit already, because the group asked how to run it
        self._pending: dict[str, str] = {}

    @property
    def quiet(self) -> bool:
        """Return False: something may be decided at each crossing."""
        return False

    def passes(self, name: str) -> bool:  # noqa: ARG002
        """Return False: something may be decided at each crossing."""
        return False

    def count(self, name: str) -> None:
        """Note that a boundary is crossed at which nothing may act now."""

    def is_armed(self, name: str) -> bool:
        """Return True if something is to happen at the next crossing, as decided now or before."""
        if name not in self._pending:
            action = self._decisions.decide(name, self._actions[name])
            if action:
                self._pending[name] = action
        return name in self._pending

    def act(self, name: str) -> Action:
        """Cross a boundary, and do what is decided; a delay is the caller's."""
        action = self._take(name)
        if not action:
            return NOTHING
        self._decisions.begin(action)
        verb, _, seconds = action.partition(":")
        if verb == "crash":
            self._of.die()
        elif verb == POWER_CUT:
            self._cut_power()
        if not self._of.is_alive:
            raise Crashed(f"{self.process} at {name}")
        if verb == "refuse":
            raise Refused(f"the failpoint {name} refused")
        return Action(verb, float(seconds or 0))

    def _take(self, name: str) -> str:
        if name.endswith(".before_commit"):
            return self._pending.pop(name, CALM)
        return self._decisions.decide(name, self._actions[name])
