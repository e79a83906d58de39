"""Looking an order up: the flow that decides an order that never came before it says so."""

import asyncio
from typing import Any

from labkit.results import Code, Result
from labkit.runtime.steps import looking_flow
from labkit.shop import lookups, orders
from labkit.shop.contracts import Shop
from labkit.shop.messages import MoveOrder


@looking_flow
async def find_order(shop: Shop, query: MoveOrder) -> Result[Any]:
    """Look an order up. One that is late and was never saved is ruled out before that is told.

    Where that cannot be written now the answer stays undecided: a clock decides nothing, since the
    flow that saves the order may be in the midst of its commit, or read another clock.
    """
    found = await shop.run(lookups.find_order, query)
    if found.code != Code.ORDER_UNDECIDED or not await shop.run(lookups.is_overdue, query):
        return found
    try:
        async with asyncio.timeout(shop.settings.call_timeout / 2):  # our caller waits that long
            return await shop.run(orders.rule_out, query)
    except TimeoutError:
        return found
