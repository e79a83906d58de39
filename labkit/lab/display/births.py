"""Short names for what was born since the last look: what has its name is not read again."""

from typing import Any

from sqlalchemy import select

from labkit.lab.display.frames import Aliases
from labkit.ops.reader import Reader
from labkit.payment_platform import tables as platform
from labkit.runtime.db import tables as runtime
from labkit.runtime.registry.ids import first_of, made_at_ms
from labkit.shop import tables as shop

#: Tables whose ids get their short names first, in this order: by which column each grows, and
#: what it names.
_BIRTHS = (
    (("order",), shop.request, "order_id", ("user_id",)),
    (("pay",), shop.pay, "pay_id", ("order_id", "user_id", "trade_no")),
    (("pay",), shop.refund, "refund_id", ("pay_id", "order_id", "user_id")),
    (("platform",), platform.trade, "out_trade_no", ("trade_no",)),
    (tuple(shop.TABLES), runtime.outbox, "event_id", ()),
)
_OVERLAP_MS = 60_000  # an id may be committed so much later than a younger one


class Births:
    """Gives names in the order of birth, and remembers how far it has come.

    Args:
        reader: of the lab's databases.
        aliases: that are to know all names.
    """

    def __init__(self, reader: Reader, aliases: Aliases) -> None:
        self._reader = reader
        self._aliases = aliases
        self._seen: dict[str, int] = {}

    def learn(self) -> None:
        """Name everything that was born since the last time, whatever is shown."""
        for services, table, key, others in _BIRTHS:
            rows: list[dict[str, Any]] = []
            since = self._seen.get(table.name, 0)
            columns = [table.c[name] for name in (key, *others)]
            for service in services:
                young = select(*columns).where(table.c[key] > since)
                rows += self._reader.query(service, young)
            self._aliases.learn(rows)
            last = max((row[key] for row in rows), default=since)
            self._seen[table.name] = max(since, first_of(made_at_ms(last) - _OVERLAP_MS))
