"""Real purchases of 1997 and 1998, as orders of this shop; data/purchases/README.md says whose."""

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import labkit
from bench.sample import GOODS_ID, PRICE
from labkit.shop.order.pricing import shipping_fee
from labkit.stack.setup.seeds import Seeds

_BALANCE = 1_000_00
_FILE = Path("purchases") / "cdnow_master.txt.gz"


class Purchase(NamedTuple):
    """One purchase.

    Attributes:
        number: from 1, in the order in which they were made.
        customer: who bought.
        day: yyyymmdd.
        pieces: how many CDs.
        cents: for how much.
        first: whether it is the customer's first one.
    """

    number: int
    customer: int
    day: str
    pieces: int
    cents: int
    first: bool

    @property
    def mark(self) -> str:
        """Return what tells its order from all others: its content, not an id of the shop's."""
        return f"{self.day} #{self.number}"

    def request(self) -> dict[str, Any]:
        """Return the order that stands for it."""
        goods_amount = PRICE * self.pieces
        fee = shipping_fee(goods_amount)
        return {
            "user_id": self.customer,
            "goods_id": GOODS_ID,
            "goods_number": self.pieces,
            "goods_price": PRICE,
            "shipping_fee": fee,
            "order_amount": goods_amount + fee,
            "money_paid": self.cents,
            "coupon_id": self.customer if self.first else None,
            "address": self.mark,
            "consignee": f"customer {self.customer}",
        }


def seeds(sent: Sequence[Purchase]) -> Seeds:
    """Return what purchases need: customers, each with a balance and a coupon, and stock.

    Args:
        sent: the purchases; the file numbers its customers by their first one, or nearly.
    """
    customers = max(purchase.customer for purchase in sent)
    stock = sum(purchase.pieces for purchase in sent)
    return Seeds(goods=1, users=customers, coupons=customers, stock=stock, balance=_BALANCE)


def purchases() -> Iterator[Purchase]:
    """Yield all purchases, in the order in which they were made."""
    here = Path(labkit.__file__).parent
    beside = here.parent / "data" / _FILE  # a wheel has nothing beside it, and carries a copy
    with gzip.open(beside if beside.exists() else here / "_data" / _FILE, "rt") as file:
        rows = [line.split() for line in file][1:]
    rows.sort(key=lambda row: row[1])  # by day; within a day as they stand
    customers: set[int] = set()
    for number, (customer, day, pieces, dollars) in enumerate(rows, 1):
        who, cents = int(customer), int(dollars.replace(".", ""))
        yield Purchase(number, who, day, int(pieces), cents, who not in customers)
        customers.add(who)
