"""A network that is cut, and services that are slow."""

from collections.abc import Iterator
from typing import Literal

from labkit.faults.standing_verbs import SERVING, WITH_STEPS, StandingVerbs, one_of, seconds_of
from labkit.faults.verb import Reach, verb
from labkit.runtime.injection.standing import FaultKind, StandingFault


class NetworkVerbs(StandingVerbs):
    """The faults of calls."""

    @verb
    def slow(self, service: str, seconds: float) -> Iterator[Reach]:
        """Slow every step of a service down by so much, as a slow disk does.

        Args:
            service: one with a database.
            seconds: the delay of each group of steps that commit together.
        """
        one_of(service, WITH_STEPS, "service with a database")
        with self._standing(StandingFault(FaultKind.SLOW, service, seconds_of(seconds))) as met:
            yield Reach(met, f"nobody asked {service} for a step")

    @verb
    def cut(
        self,
        a: str,
        b: str,
        way: Literal["both", "there", "back"] = "both",
        how: Literal["dropped", "refused"] = "dropped",
    ) -> Iterator[Reach]:
        """Cut the network between two services, one way or both.

        Args:
            a: a service.
            b: another one.
            way: the messages that are lost: those of `a` (`there`), those of `b` (`back`), or both.
                Where they are lost on the way back, the work was done and no answer comes.
            how: `dropped` loses each message without a word; `refused` refuses connections, and
                breaks those that are open. Of connections, `there` are those that `a` opens.
        """
        for name in (a, b):
            one_of(name, SERVING, "service")
        if a == b:
            raise ValueError(f"{a}: a network is cut between two services")
        pairs = {"both": (f"{a}>{b}", f"{b}>{a}"), "there": (f"{a}>{b}",), "back": (f"{b}>{a}",)}
        with self._standing(
            *(StandingFault(FaultKind.CUT, pair, mode=how) for pair in pairs[way])
        ) as met:
            yield Reach(met, f"nothing went between {a} and {b}")
