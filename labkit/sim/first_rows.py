"""The first data of each life: little, so that customers meet at the last piece and cent."""

from datetime import datetime

from labkit.runtime.clock import as_time
from labkit.sim.clocks import START_MS
from labkit.stack.setup.seeds import Row, Seeds, rows_of

SEEDS = Seeds(users=2, goods=1, stock=6, balance=70_00, coupons=4)
#: Of the goods: so little that shipping is not free.
PRICE = 30_00


def rows_at(now: datetime) -> dict[str, list[Row]]:
    """Return the first rows of each table.

    Args:
        now: business time of the opening rows.
    """
    rows = rows_of(SEEDS, now)
    for goods in rows["trade_goods"]:
        goods["goods_price"] = PRICE
    return rows


ROWS = rows_at(as_time(START_MS))
USERS, GOODS, COUPONS = (ROWS[name] for name in ("trade_user", "trade_goods", "trade_coupon"))
