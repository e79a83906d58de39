"""Load on a lab whose servers fail, and what is waited for meanwhile."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from labkit.waiting import wait_until
from tests.support.history import Answered, History

CLIENTS = 3
ALL = {"coupon": True, "money_paid": 1_00}


@contextmanager
def load(history: History) -> Iterator[Callable[[], int]]:
    """Clients whose orders each take stock, balance and a coupon of their own, for a block.

    The block is handed what counts the orders that were placed so far.
    """

    def ordered() -> int:
        return sum(answer.placed for answer in answers)

    with history.buying(CLIENTS, money_paid=1, coupon_id=count(2)) as answers:
        wait_until(lambda: ordered() > 10, "orders are being placed", timeout=30)
        yield ordered


def goes_on(ordered: Callable[[], int]) -> None:
    """Wait until the load has placed some more."""
    so_far = ordered()
    wait_until(lambda: ordered() > so_far + 10, "orders are placed again", timeout=30)


def cancel(history: History, mine: Answered) -> None:
    """Cancel an order, as soon as that goes; a message tells who took something for it."""
    wait_until(
        lambda: history.cancel(mine.order_id).status_code == 200, "it is cancelled", timeout=30
    )


def acknowledged(history: History) -> None:
    """Wait until Kafka has all messages of the order service."""
    unsent = "SELECT * FROM trade_mq_producer WHERE status = 0"
    wait_until(lambda: not history.tables.rows("order", unsent), "all is acknowledged", timeout=30)
