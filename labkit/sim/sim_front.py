"""The front of the shop in the simulation."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from labkit.ops.history import Exchange, RequestKind
from labkit.payment_platform import trades
from labkit.payment_platform.messages import CashierToken
from labkit.results import Result
from labkit.runtime.errors import Overloaded, Unknown
from labkit.runtime.injection.failpoints import Refused
from labkit.shop import messages as m
from labkit.shop.codes import Code
from labkit.shop.pay import messages as p
from labkit.sim.deviations import CUSTOMERS
from labkit.sim.front import PAUSES, Answer
from labkit.sim.world import World
from labkit.web.orders import place_order

_ANSWER_S = 10.0  # that a client waits for an answer
#: Errors of a process that is overloaded, or that a failpoint has made refuse.
_AWAY = (Unknown, Overloaded, Refused)


class SimFront:
    """The front of the shop in the simulation; it keeps every request with its answer.

    Args:
        world: the world.

    Attributes:
        exchanges: of all customers.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.exchanges: list[Exchange] = []

    async def place(self, key: str, order: m.PlaceOrder) -> Answer:
        """Place an order, under an idempotency key."""
        return await self._send(
            Exchange(RequestKind.PLACE, self._number, key=key, body=order.model_dump()),
            self._world.order_web("place", lambda orders: place_order(orders, key, order)),
        )

    async def find(self, order_id: int) -> Answer:
        """Look an order up."""
        query = m.FindOrder(order_id=order_id)
        return await self._send(
            Exchange(RequestKind.FIND, self._number, str(order_id)),
            self._world.order_web("find", lambda orders: orders.find_order(query)),
        )

    async def cancel(self, order_id: int, user_id: int) -> Answer:
        """Cancel an order."""
        command = m.UserOrder(order_id=order_id, user_id=user_id)
        body = {"user_id": user_id}
        return await self._send(
            Exchange(RequestKind.CANCEL, self._number, str(order_id), body=body),
            self._world.order_web("cancel", lambda orders: orders.cancel_by_user(command)),
        )

    async def return_order(self, order_id: int, user_id: int) -> Answer:
        """Return an order."""
        command = m.UserOrder(order_id=order_id, user_id=user_id)
        body = {"user_id": user_id}
        return await self._send(
            Exchange(RequestKind.RETURN, self._number, str(order_id), body=body),
            self._world.order_web("return", lambda orders: orders.return_order(command)),
        )

    async def open_payment(self, order_id: int) -> Answer:
        """Open the payment of an order."""
        command = p.CreatePayment(order_id=order_id)
        body = {"order_id": order_id}
        return await self._send(
            Exchange(RequestKind.OPEN_PAYMENT, self._number, str(order_id), body=body),
            self._world.pay_web("open payment", lambda pay: pay.create_payment(command)),
        )

    async def press(self, cashier_url: str, button: RequestKind) -> Answer:
        """Press a button of the cashier page."""
        command = CashierToken(token=cashier_url.rpartition("/")[2])
        step = trades.pay_trade if button is RequestKind.PAY else trades.give_up_trade
        return await self._send(
            Exchange(button, self._number, cashier_url),
            self._world.platform(str(button), lambda api: api.database.run(step, command)),
        )

    @property
    def _number(self) -> str:
        return str(len(self.exchanges))

    async def _send(self, request: Exchange, answering: Awaitable[Result[Any]]) -> Answer:
        """Wait for the answer to a request, and keep both."""
        number = len(self.exchanges)
        self.exchanges.append(request)
        pause = self._world.decisions.decide(f"{CUSTOMERS}{request.kind}", PAUSES)
        if pause:
            await asyncio.sleep(float(pause.partition(":")[2]))
        try:
            async with asyncio.timeout(_ANSWER_S):
                result = await answering
        except _AWAY as error:  # as the webs and the platform answer these
            result = Result[None].refused(Code.DEPENDENCY_AWAY, str(error))
        except OSError:
            return Answer()
        except Exception as error:  # a defect: the platform answers 503, our webs 500
            if request.kind not in (RequestKind.PAY, RequestKind.GIVE_UP):
                return Answer(500, {"error": repr(error)})
            result = Result[None].refused(Code.DEPENDENCY_AWAY, type(error).__name__)
        data = {} if result.data is None else result.data.model_dump(mode="json")
        status = Code(result.code).status
        answered = {"status": status, "code": result.code, "name": result.name}
        self.exchanges[number] = Exchange(
            **{**vars(request), **answered, "message": result.message, "data": data}
        )
        return Answer(status, data)
