"""The story of one request, line by line, from what was done in it.

First the request with all that it did, then the messages that it caused: nobody waits for those. A
message is told to its groups in the order of the services. So the story does not depend on timing.
"""

from dataclasses import dataclass, field

from labkit.ops.trace.diagram import ANSWER, CALL, LOST_ANSWER, LOST_CALL, MESSAGE, Line
from labkit.ops.trace.tree import Node
from labkit.payment_platform.wiring import PLATFORM
from labkit.shop.wiring import SERVICES

CLIENT, BROKER = "client", "broker"
#: From left to right: who asks, the webs, the services, the payment platform, the broker. What the
#: platform does inside is not ours, and not traced.
PARTICIPANTS = (
    CLIENT,
    *sorted(SERVICES, key=lambda name: not name.endswith("-web")),
    PLATFORM.name,
    BROKER,
)
CALLBACK = "POST /pay/callback"


@dataclass
class _Story:
    """The lines so far, and what is told after them."""

    lines: list[Line] = field(default_factory=list)
    messages: list[Node] = field(default_factory=list)
    late: list[Node] = field(default_factory=list)

    def line(self, start: str, arrow: str, end: str, text: str) -> None:
        self.lines.append(Line(start, arrow, end, text))


def tell(root: Node) -> list[Line]:
    """The lines of one request, or of whatever else began by itself."""
    story = _Story()
    _tell(root, story)
    last = [late for late in story.late if _came_last(late, story.messages)]
    for late in story.late:
        if late not in last:
            _tell_by_itself(late, story, "late, ")
    for message in story.messages:  # which grows where a handler sends another
        _tell_message(message, story)
    for late in last:
        _tell_by_itself(late, story, "late, ")
    return story.lines


def _came_last(late: Node, messages: list[Node]) -> bool:
    """A late step and the handlers of messages meet in one database: one of them is the first."""
    heard = (part for message in messages for part in message.parts)
    return any(one.service == late.service and one.ended < late.ended for one in heard)


def _tell(node: Node, story: _Story) -> None:
    kind = node.span["kind"]
    if kind == "http":
        _tell_request(node, story)
    elif kind == "call":
        _tell_call(node, story)
    elif kind == "send":
        story.messages.append(node)
    else:
        _tell_by_itself(node, story)


def _tell_parts(node: Node, story: _Story) -> None:
    for part in node.parts:
        _tell(part, story)


def _tell_request(node: Node, story: _Story) -> None:
    order_id = str(node.span.get("order_id", ""))
    who = PLATFORM.name if node.name == CALLBACK else CLIENT
    story.line(who, CALL, node.service, node.name.replace("{order_id}", order_id))
    _tell_parts(node, story)
    if node.ended:
        said = f"{node.span['status']} {node.span.get('outcome', '')}".strip()
        story.line(node.service, ANSWER, who, ", ".join(filter(None, (said, order_id))))
    else:
        story.line(node.service, LOST_ANSWER, who, "no answer")


def _tell_call(call: Node, story: _Story) -> None:
    """A call, and its answer where that is no plain success or came after further doings."""
    callee = call.span["peer"]
    if not (call.parts or call.answered):
        return story.line(call.service, LOST_CALL, callee, f"{call.name}: no answer")
    story.line(call.service, CALL, callee, call.name)
    before = len(story.lines)
    for served in call.parts:
        _tell_parts(served, story)
        if not call.answered and served.ended > call.ended and not served.parts:
            story.late.append(served)
    if not call.answered:
        story.line(callee, LOST_ANSWER, call.service, "no answer")
    elif call.outcome or len(story.lines) > before:
        story.line(callee, ANSWER, call.service, call.outcome or "SUCCESS")
    return None


def _tell_message(message: Node, story: _Story) -> None:
    arrived = message.parts or message.answered
    story.line(message.service, MESSAGE if arrived else LOST_CALL, BROKER, message.name)
    for heard in sorted(message.parts, key=lambda one: PARTICIPANTS.index(one.service)):
        story.line(BROKER, MESSAGE, heard.service, _ending(heard))
        story.messages += heard.parts


def _tell_by_itself(node: Node, story: _Story, when: str = "") -> None:
    story.line(node.service, CALL, node.service, when + _ending(node))
    _tell_parts(node, story)


def _ending(node: Node) -> str:
    """A step's name, with what came of it where that is no plain success."""
    return ": ".join(filter(None, (node.name, node.outcome if node.ended else "died")))
