"""Steps that are taken while a fault lasts, and what must be true of the shop after."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from labkit.faults import Reach
from tests.support.storyline import Teller

#: A verb, and what it is told.
Fault = tuple[str, tuple[Any, ...]]


@contextmanager
def broken(teller: Teller, *faults: Fault) -> Iterator[list[Reach]]:
    """Several faults at once for a block; each must have been met, and all must be well after."""
    with ExitStack() as stack:
        reaches = [
            stack.enter_context(getattr(teller.lab.faults, name)(*arguments))
            for name, arguments in faults
        ]
        yield reaches
        print("met:", [(*fault, reach.times) for fault, reach in zip(faults, reaches, strict=True)])
    teller.check()


def trade(teller: Teller) -> None:
    """An order that ends each way that there is, and one that is paid on the platform."""
    teller.story()
    unpaid = teller.history.place()
    if unpaid.placed:
        teller.history.pay(unpaid.order_id)
