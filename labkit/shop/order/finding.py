"""Looking an order up: the flow that decides an order that never came before it says so."""

import asyncio

from labkit.results import Result
from labkit.runtime import looking_flow
from labkit.shop.codes import Code
from labkit.shop.messages import FindOrder, OrderFound, OrderPlaced
from labkit.shop.order import queries, steps
from labkit.shop.order.context import OrderShop


@looking_flow
async def find_order(shop: OrderShop, query: FindOrder) -> Result[OrderFound | OrderPlaced]:
    """Look an order up. One that is late and was never saved is ruled out before that is told.

    Where that cannot be written now the answer stays undecided: a clock decides nothing, since the
    flow that saves the order may be in the midst of its commit, or read another clock.
    """
    found = await shop.run(queries.find_order, query)
    if found.code != Code.ORDER_UNDECIDED or not await shop.run(queries.is_overdue, query):
        return found
    try:
        async with asyncio.timeout(shop.settings.call_timeout / 2):  # our caller waits that long
            return await shop.run(steps.rule_out, query)
    except TimeoutError:
        return found
