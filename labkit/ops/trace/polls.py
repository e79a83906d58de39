"""What the shop asks the payment platform by itself, in the story of an order.

How often it asks depends on timing, and so does whether it learns by asking or by the callback
that the user has paid. The story does not: where a callback came, what came of the payment is told
there; where none came, asking is told, if anything came of it.
"""

from collections.abc import Iterator

from labkit.ops.trace.sequence import CALLBACK
from labkit.ops.trace.tree import Node

_TAKE, _ASK = "take_payment", "query_trade"


def without_idle_questions(roots: list[Node]) -> list[Node]:
    """The beginnings of a story, without what would be otherwise on another run.

    Args:
        roots: what nobody else here caused; a flow that runs by itself has no beginning of its own,
            so that each thing it does is one of these.
    """
    asked = [root for root in roots if root.name == _TAKE]
    heard = [
        node for root in roots if root.name == CALLBACK for node in _all(root) if node.name == _TAKE
    ]
    for one in asked if heard else ():
        heard[0].parts += one.parts
        one.parts = []
    learned = any(one.parts for one in asked)
    return [
        root
        for root in roots
        if (root.parts or root.name != _TAKE) and (learned or root.name != _ASK)
    ]


def _all(node: Node) -> Iterator[Node]:
    yield node
    for part in node.parts:
        yield from _all(part)
