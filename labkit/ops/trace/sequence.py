"""The lines of a sequence diagram, from the tree of one request.

The request comes first, with all that it did, and then the messages that it caused, for which
nobody waits. A message goes to its groups in the order of the services, so that the lines do not
depend on timing.
"""

from dataclasses import dataclass, field

from labkit.ops.trace.diagram import ANSWER, CALL, LOST_ANSWER, LOST_CALL, MESSAGE, Line
from labkit.ops.trace.tree import Node
from labkit.payment_platform.wiring import PLATFORM
from labkit.shop.wiring import SERVICES

CLIENT, BROKER = "client", "broker"
#: From left to right: the client, the webs, the services, the payment platform, the broker. The
#: platform's own steps are not traced: it stands for a third party.
PARTICIPANTS = (
    CLIENT,
    *sorted(SERVICES, key=lambda name: not name.endswith("-web")),
    PLATFORM.name,
    BROKER,
)
CALLBACK = "POST /pay/callback"


@dataclass
class _Sequence:
    """The lines so far, and the nodes that are drawn after them."""

    lines: list[Line] = field(default_factory=list)
    messages: list[Node] = field(default_factory=list)
    late: list[Node] = field(default_factory=list)

    def add(self, start: str, arrow: str, end: str, text: str) -> None:
        self.lines.append(Line(start, arrow, end, text))


def sequence_lines(root: Node) -> list[Line]:
    """Draw the lines of one request, or of a flow that began by itself."""
    sequence = _Sequence()
    _draw(root, sequence)
    last = [late for late in sequence.late if _came_last(late, sequence.messages)]
    for late in sequence.late:
        if late not in last:
            _draw_inside(late, sequence, "late, ")
    for message in sequence.messages:  # which grows where a handler sends another
        _draw_message(message, sequence)
    for late in last:
        _draw_inside(late, sequence, "late, ")
    return sequence.lines


def _came_last(late: Node, messages: list[Node]) -> bool:
    """Return True if a handler of a message in the same service ended before a late step."""
    handlers = (part for message in messages for part in message.parts)
    return any(
        handler.service == late.service and handler.ended < late.ended for handler in handlers
    )


def _draw(node: Node, sequence: _Sequence) -> None:
    kind = node.span["kind"]
    if kind == "http":
        _draw_request(node, sequence)
    elif kind == "call":
        _draw_call(node, sequence)
    elif kind == "send":
        sequence.messages.append(node)
    else:
        _draw_inside(node, sequence)


def _draw_parts(node: Node, sequence: _Sequence) -> None:
    for part in node.parts:
        _draw(part, sequence)


def _draw_request(node: Node, sequence: _Sequence) -> None:
    order_id = str(node.span.get("order_id", ""))
    sender = PLATFORM.name if node.name == CALLBACK else CLIENT
    sequence.add(sender, CALL, node.service, node.name.replace("{order_id}", order_id))
    _draw_parts(node, sequence)
    if node.ended:
        answer = f"{node.span['status']} {node.span.get('outcome', '')}".strip()
        sequence.add(node.service, ANSWER, sender, ", ".join(filter(None, (answer, order_id))))
    else:
        sequence.add(node.service, LOST_ANSWER, sender, "no answer")


def _draw_call(call: Node, sequence: _Sequence) -> None:
    """Draw a call, and its answer where that is no plain success or came after further lines."""
    callee = call.span["peer"]
    if not (call.parts or call.answered):
        return sequence.add(call.service, LOST_CALL, callee, f"{call.name}: no answer")
    sequence.add(call.service, CALL, callee, call.name)
    before = len(sequence.lines)
    for served in call.parts:
        _draw_parts(served, sequence)
        if not call.answered and served.ended > call.ended and not served.parts:
            sequence.late.append(served)
    if not call.answered:
        sequence.add(callee, LOST_ANSWER, call.service, "no answer")
    elif call.outcome or len(sequence.lines) > before:
        sequence.add(callee, ANSWER, call.service, call.outcome or "SUCCESS")
    return None


def _draw_message(message: Node, sequence: _Sequence) -> None:
    arrived = message.parts or message.answered
    sequence.add(message.service, MESSAGE if arrived else LOST_CALL, BROKER, message.name)
    for handler in sorted(message.parts, key=lambda part: PARTICIPANTS.index(part.service)):
        sequence.add(BROKER, MESSAGE, handler.service, _label(handler))
        sequence.messages += handler.parts


def _draw_inside(node: Node, sequence: _Sequence, prefix: str = "") -> None:
    """Draw a step of a service as a line to itself."""
    sequence.add(node.service, CALL, node.service, prefix + _label(node))
    _draw_parts(node, sequence)


def _label(node: Node) -> str:
    """Return a step's name, with its outcome where that is no plain success."""
    return ": ".join(filter(None, (node.name, node.outcome if node.ended else "died")))
