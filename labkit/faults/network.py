"""A network that is cut, and services that are slow."""

from collections.abc import Iterator
from typing import Literal

from labkit.faults.rule_verbs import SERVING, WITH_STEPS, RuleVerbs, one_of, seconds_of
from labkit.faults.verb import Reach, verb
from labkit.runtime.injection.standing import FaultKind, StandingFault


class NetworkVerbs(RuleVerbs):
    """What can befall calls."""

    @verb
    def slow(self, service: str, seconds: float) -> Iterator[Reach]:
        """Every step of a service takes so much longer, as on a slow disk.

        Args:
            service: who has a database.
            seconds: how much longer each group of steps takes that commit together.
        """
        one_of(service, WITH_STEPS, "service with a database")
        with self._ruled(StandingFault(FaultKind.SLOW, service, seconds_of(seconds))) as met:
            yield Reach(met, f"nobody asked {service} for a step")

    @verb
    def cut(
        self,
        a: str,
        b: str,
        way: Literal["both", "there", "back"] = "both",
        how: Literal["dropped", "refused"] = "dropped",
    ) -> Iterator[Reach]:
        """The network is cut between two services, one way or both.

        Args:
            a: a service.
            b: another one.
            way: what is lost: what `a` sends (`there`), what `b` sends (`back`), or both. What is
                lost back was done, and the answer does not come.
            how: `dropped` loses each message without a word; `refused` refuses connections, and
                breaks those that are open. Of connections, `there` are those that `a` opens.
        """
        for name in (a, b):
            one_of(name, SERVING, "service")
        if a == b:
            raise ValueError(f"{a}: a network is cut between two services")
        pairs = {"both": (f"{a}>{b}", f"{b}>{a}"), "there": (f"{a}>{b}",), "back": (f"{b}>{a}",)}
        with self._ruled(
            *(StandingFault(FaultKind.CUT, pair, mode=how) for pair in pairs[way])
        ) as met:
            yield Reach(met, f"nothing went between {a} and {b}")
