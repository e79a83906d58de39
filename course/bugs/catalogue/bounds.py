"""Bugs of bounds: of what travels together, and of what waits for another."""

import asyncio
from collections import deque
from typing import Any

from course.bugs.bug import bug
from labkit.runtime.rpc.protocol import T
from labkit.shop.pay.context import PayShop
from labkit.shop.pay.messages import DueQuery

a_batch_counts_not_bytes = bug(
    "a-batch-counts-not-bytes",
    "A hundred calls in one message are few enough.",
    "large-callbacks",
    breaks="a message may have",
)


@a_batch_counts_not_bytes.replaces("labkit.runtime.rpc.protocol:take_batch")
def _(waiting: "deque[T]") -> list[T]:
    return [waiting.popleft() for _ in range(min(len(waiting), 100))]


one_slow_call_delays_all = bug(
    "one-slow-call-delays-all",
    "Fifty at a time, and when all of them have their answers, the next fifty.",
    "slow-answer",
    breaks="the order says paid",
    waits=True,
)


@one_slow_call_delays_all.replaces("labkit.shop.pay.polling:_run_due")
async def _(shop: PayShop, _find: Any, claim: Any, work: Any) -> None:
    claimed = await shop.run(claim, DueQuery(limit=50))
    await asyncio.gather(*(work(shop, due) for due in claimed))
