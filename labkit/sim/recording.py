"""A record of one life, for people: who called whom, what was sent, and what happened to it."""

from dataclasses import dataclass, field

from labkit.ops.trace.diagram import ANSWER, CALL, LOST_CALL, MESSAGE, Diagram, Line

BROKER, CUSTOMER = "broker", "customer"
_ORDER = (
    CUSTOMER,
    "order-web",
    "order",
    "goods",
    "coupon",
    "user",
    "pay-web",
    "pay",
    "platform",
    BROKER,
    "log",
)


@dataclass
class Record:
    """The lines of a life.

    Attributes:
        is_on: whether anything is written down, which takes time.
        lines: in order.
    """

    is_on: bool = False
    lines: list[Line] = field(default_factory=list)

    def call(self, caller: str, service: str, method: str) -> None:
        """Write down a call."""
        self._add(caller, CALL, service, method)

    def answer(self, service: str, caller: str, method: str) -> None:
        """Write down an answer."""
        self._add(service, ANSWER, caller, method)

    def message(self, start: str, end: str, topic: str) -> None:
        """Write down a message on its way to the broker, or from it."""
        self._add(start, MESSAGE, end, topic)

    def event(self, point: str, action: str) -> None:
        """Write down what happened at a point that does not in a calm life."""
        who = point.partition(".")[0]
        self._add(who, LOST_CALL, who, f"{action.upper()} at {point}")

    def diagram(self, title: str, last: int | None = None) -> Diagram:
        """Return the diagram of the life.

        Args:
            title: of the diagram.
            last: how many lines of its end, at most; None: all.
        """
        lines = self.lines if last is None else self.lines[-last:]
        there = {name for line in lines for name in (line.start, line.end)}
        return Diagram(title, [name for name in _ORDER if name in there], lines)

    def _add(self, start: str, arrow: str, end: str, text: str) -> None:
        if self.is_on:
            self.lines.append(Line(start, arrow, end, text))
