"""Sequence diagrams: Mermaid where it can be drawn, as in JupyterLab, and text elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

from labkit.printable import printable

#: Mermaid reads % as a comment, # as an entity, < as a tag; Markdown reads ` as a fence.
_REPLACEMENTS = str.maketrans({"#": " ", "%": " ", ";": ",", "<": "‹", ">": "›", "`": "'"})
_LAYOUT = '%%{init: {"sequence": {"width": 105, "actorMargin": 22}}}%%'

#: Mermaid's arrows: a call, its answer, a lost call, a lost answer, a message.
CALL, ANSWER, LOST_CALL, LOST_ANSWER, MESSAGE = "->>", "-->>", "-x", "--x", "-)"


@dataclass(frozen=True)
class Line:
    """One arrow of the diagram, from one participant to another, or to itself."""

    start: str
    arrow: str
    end: str
    text: str


class Diagram:
    """A diagram of one order.

    Attributes:
        title: names the order.
        participants: from left to right.
        lines: from top to bottom.
    """

    def __init__(self, title: str, participants: Sequence[str], lines: Sequence[Line]) -> None:
        self.title = title
        self.participants = list(participants)
        self.lines = list(lines)

    @property
    def mermaid(self) -> str:
        """Return the diagram in Mermaid's language."""
        named = [
            f"participant {_id(participant)} as {participant}" for participant in self.participants
        ]
        drawn = [
            f"{_id(line.start)}{line.arrow}{_id(line.end)}: {_safe(line.text)}"
            for line in self.lines
        ]
        description = "; ".join(f"{line.start} to {line.end}: {line.text}" for line in self.lines)
        about = [f"accTitle: {_safe(self.title)}", f"accDescr: {_safe(description)}"]
        return "\n  ".join([f"{_LAYOUT}\nsequenceDiagram", *about, "autonumber", *named, *drawn])

    def __repr__(self) -> str:
        numbered = enumerate(self.lines, 1)
        return "\n".join(
            [
                self.title,
                *(
                    f"{number:3}. {line.start} {line.arrow} {line.end}: {printable(line.text)}"
                    for number, line in numbered
                ),
            ]
        )

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/markdown": f"```mermaid\n{self.mermaid}\n```", "text/plain": repr(self)}


def _id(participant: str) -> str:
    return participant.replace("-", "_")


def _safe(text: str) -> str:
    """Replace the signs that mean something to Mermaid, or to the page that it draws on."""
    return printable(text.translate(_REPLACEMENTS).replace("\n", " "))
