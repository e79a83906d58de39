"""Looking an order up: a flow that rules a missing order out before it answers "not found"."""

import asyncio

from labkit.results import Result
from labkit.runtime import lookup_flow
from labkit.shop.codes import Code
from labkit.shop.messages import FindOrder, OrderFound, OrderPlaced
from labkit.shop.order import queries, steps
from labkit.shop.order.context import OrderShop


@lookup_flow
async def find_order(shop: OrderShop, query: FindOrder) -> Result[OrderFound | OrderPlaced]:
    """Look an order up. One that is late and was never saved is ruled out before the answer.

    If that cannot be written now, the answer stays "undecided". A clock decides nothing: the flow
    that saves the order may be in the midst of its commit, or read another clock.
    """
    answer = await shop.run(queries.find_order, query)
    if answer.code != Code.ORDER_UNDECIDED or not await shop.run(queries.is_overdue, query):
        return answer
    try:
        async with asyncio.timeout(shop.settings.call_timeout / 2):  # our caller waits that long
            return await shop.run(steps.rule_out, query)
    except TimeoutError:
        return answer
