"""The first data of each life: little, so that customers meet at the last piece and cent."""

from labkit.runtime.clock import as_time
from labkit.sim.clocks import START_MS
from labkit.stack.setup.seeds import Seeds, rows_of

SEEDS = Seeds(users=2, goods=1, stock=6, balance=70_00, coupons=4)
#: Of the goods: so little that shipping is not free.
PRICE = 30_00
ROWS = rows_of(SEEDS, as_time(START_MS))
for _goods in ROWS["trade_goods"]:
    _goods["goods_price"] = PRICE
USERS, GOODS, COUPONS = (ROWS[name] for name in ("trade_user", "trade_goods", "trade_coupon"))
