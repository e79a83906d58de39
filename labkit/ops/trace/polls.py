"""A filter for the polls of the payment platform in the diagram of an order.

How often the shop polls depends on timing, and so does whether a poll or the callback tells it that
the user has paid. The diagram must not: where a callback came, the effects of the payment are drawn
there; where none came, the polls are drawn, if one had an effect.
"""

from collections.abc import Iterator

from labkit.ops.trace.sequence import CALLBACK
from labkit.ops.trace.tree import Node

_APPLY, _QUERY = "take_payment", "query_trade"


def drop_idle_polls(roots: list[Node]) -> list[Node]:
    """Drop the polls that would be others on another run.

    Args:
        roots: of the trees; a flow that runs by itself has no root of its own, so that each step
            and each call of it is a root.
    """
    polls = [root for root in roots if root.name == _APPLY]
    by_callback = [
        node
        for root in roots
        if root.name == CALLBACK
        for node in _all(root)
        if node.name == _APPLY
    ]
    for poll in polls if by_callback else ():
        by_callback[0].parts += poll.parts
        poll.parts = []
    had_effect = any(poll.parts for poll in polls)
    return [
        root
        for root in roots
        if (root.parts or root.name != _APPLY) and (had_effect or root.name != _QUERY)
    ]


def _all(node: Node) -> Iterator[Node]:
    yield node
    for part in node.parts:
        yield from _all(part)
