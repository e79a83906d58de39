"""The report of a replay: what was forced, what the customers were answered, what broke."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from labkit.ops.history import Exchange
from labkit.ops.invariants.check import CheckResult
from labkit.sim.forcing import Forcing
from labkit.sim.plan import Plan

_MAX_BREACHES = 3
#: Exit codes of a replay: all held, something broke, it was not the life of the token.
HELD, BROKEN, ANOTHER_LIFE = 0, 1, 3


@dataclass(frozen=True)
class Outcome:
    """What came of a replay.

    Attributes:
        reached: the deviations that happened.
        exchanges: the requests of all customers, with their answers.
        invariants: the result of each.
        complaints: what did not end, or not well.
    """

    reached: Collection[Forcing]
    exchanges: Sequence[Exchange]
    invariants: Sequence[CheckResult]
    complaints: Sequence[str]

    @property
    def breaches(self) -> list[str]:
        """Return what must not be, in words."""
        broken = [
            f"{result['name']}: {breach}"
            for result in self.invariants
            for breach in result["broken"][:_MAX_BREACHES]
        ]
        return [*self.complaints, *broken]


@dataclass(frozen=True)
class ReplayReport:
    """The report of a replay.

    Attributes:
        plan: of the life.
        forced: how each of its deviations was to be forced.
        twin: what the life breaks in the twin.
        outcome: what came of it on the real lab.
        seconds: the running time.
    """

    plan: Plan
    forced: Sequence[Forcing]
    twin: Sequence[str]
    outcome: Outcome
    seconds: float

    @property
    def missed(self) -> list[Forcing]:
        """Return what did not happen, because it cannot be forced or nothing crossed its point."""
        return [forcing for forcing in self.forced if forcing not in self.outcome.reached]

    @property
    def exit_code(self) -> int:
        """Return 1 if something broke, 3 if that says nothing because something did not happen."""
        if self.outcome.breaches:
            return BROKEN
        return ANOTHER_LIFE if self.missed else HELD

    def lines(self) -> Iterator[str]:
        """Yield the report for people."""
        stories = ", ".join(self.plan.stories)
        yield f"{stories}; {self.plan.instances} of each service, {self.seconds:.1f} s"
        for forcing in self.forced:
            yield f"  {self._verdict(forcing)}: {forcing.deviation}"
        yield from self._answers()
        for breach in self.outcome.breaches:
            yield f"BROKEN {breach}"
        for breach in self.twin:
            yield f"in the twin: {breach}"
        yield self._end()

    def as_json(self) -> dict[str, object]:
        """Return the report in JSON's types."""
        return {
            "token": self.plan.token,
            "seconds": round(self.seconds, 1),
            "deviations": [
                {"deviation": str(forcing.deviation), "verdict": self._verdict(forcing)}
                for forcing in self.forced
            ],
            "answers": list(self._answers()),
            "invariants": list(self.outcome.invariants),
            "broken": self.outcome.breaches,
            "twin": list(self.twin),
        }

    def _verdict(self, forcing: Forcing) -> str:
        if forcing.obstacle:
            return f"cannot be forced ({forcing.obstacle})"
        return "happened" if forcing in self.outcome.reached else "NOT REACHED"

    def _answers(self) -> Iterator[str]:
        """Yield what the customers asked and were answered; the same again and again once."""
        for line, same in groupby(map(_answer, self.outcome.exchanges)):
            times = len(list(same))
            yield f"  {line}{f' ({times} times)' if times > 1 else ''}"

    def _end(self) -> str:
        results = self.outcome.invariants
        text = f"{sum(result['held'] for result in results)} of {len(results)} invariants hold"
        if self.exit_code == ANOTHER_LIFE:
            text += f"; it was another life: {len(self.missed)} of its deviations did not happen"
        elif self.twin and self.exit_code == HELD:
            text += "; in the twin they do not, where something else came first: try again"
        return text


def _answer(exchange: Exchange) -> str:
    subject = exchange.key or exchange.subject
    answer = f"{exchange.status} {exchange.name}" if exchange.status else "no answer"
    return f"{exchange.kind} {subject}: {answer}"
