"""A sequence diagram: Mermaid where it can be drawn, as in JupyterLab, and text elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from labkit.printable import printable

#: A comment begins with %, an entity with #, a tag with <; a fence of Markdown is of `.
_MEANINGFUL = str.maketrans({"#": " ", "%": " ", ";": ",", "<": "‹", ">": "›", "`": "'"})
_LAYOUT = '%%{init: {"sequence": {"width": 105, "actorMargin": 22}}}%%'

#: How a line is drawn: a call, its answer, one that is lost on its way, a message.
CALL, ANSWER, LOST_CALL, LOST_ANSWER, MESSAGE = "->>", "-->>", "-x", "--x", "-)"


@dataclass(frozen=True)
class Line:
    """One arrow of the diagram, from one participant to another, or to itself."""

    start: str
    arrow: str
    end: str
    text: str


class Diagram:
    """What happened to one order, line by line.

    Attributes:
        title: what it is about.
        participants: from left to right.
        lines: from top to bottom.
    """

    def __init__(self, title: str, participants: Sequence[str], lines: Sequence[Line]) -> None:
        self.title = title
        self.participants = list(participants)
        self.lines = list(lines)

    @property
    def mermaid(self) -> str:
        """The diagram in Mermaid's language."""
        named = [
            f"participant {_id(participant)} as {participant}" for participant in self.participants
        ]
        drawn = [
            f"{_id(line.start)}{line.arrow}{_id(line.end)}: {_safe(line.text)}"
            for line in self.lines
        ]
        said = "; ".join(f"{line.start} to {line.end}: {line.text}" for line in self.lines)
        about = [f"accTitle: {_safe(self.title)}", f"accDescr: {_safe(said)}"]
        return "\n  ".join([f"{_LAYOUT}\nsequenceDiagram", *about, "autonumber", *named, *drawn])

    def __repr__(self) -> str:
        numbered = enumerate(self.lines, 1)
        return "\n".join(
            [
                self.title,
                *(
                    f"{number:3}. {one.start} {one.arrow} {one.end}: {printable(one.text)}"
                    for number, one in numbered
                ),
            ]
        )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/markdown": f"```mermaid\n{self.mermaid}\n```", "text/plain": repr(self)}


def _id(participant: str) -> str:
    return participant.replace("-", "_")


def _safe(text: str) -> str:
    """Return a text without what means something to Mermaid, or to the page that it draws on."""
    return printable(text.translate(_MEANINGFUL).replace("\n", " "))
