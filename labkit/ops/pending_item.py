"""One thing that waits or has failed, as `labkit stuck --json` prints it."""

from typing import NotRequired, TypedDict


class PendingItem(TypedDict):
    """An undecided order, a payment, a refund or an event that is in flight, stuck or dead.

    Keys:
        id: as `labkit retry` takes it.
        what: a description.
        order: the order's id; None where the item names none.
        cause: the last error; None where there was none.
        tries: how often it was tried.
        next_try: in milliseconds of the wall clock; None where nobody tries it.
        kind: such as `unsent`; that of a dead letter begins with `dead`.
        topic: of an event.
    """

    id: str
    what: str
    order: int | None
    cause: str | None
    tries: int
    next_try: int | None
    kind: str
    topic: NotRequired[str]
