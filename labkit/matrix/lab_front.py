"""The front of a real lab, as the customers of the twin's stories ask it, and their play."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from labkit.lab.client import Client
from labkit.ops.history import RequestKind
from labkit.shop import messages as m
from labkit.sim.customer import Customer, NoFinalAnswer
from labkit.sim.front import Answer
from labkit.sim.stories import STORIES

_STORY_S = 300.0
_THREADS = 32  # requests at once


class LabFront:
    """The front of a real lab.

    Args:
        client: of the lab.
        pauses: kind and number of a request, from 1 → the seconds that its customer waits before.

    Attributes:
        paused: the requests before which a customer has waited.
    """

    def __init__(
        self, client: Client, pauses: Mapping[tuple[str, int], float] | None = None
    ) -> None:
        self._client = client
        self._pauses = pauses or {}
        self._requests: Counter[str] = Counter()
        self.paused: set[tuple[str, int]] = set()

    async def place(self, key: str, order: m.PlaceOrder) -> Answer:
        """Place an order, under an idempotency key."""
        body: Any = order.model_dump()
        return await self._send(RequestKind.PLACE, lambda: self._client.place(body, key))

    async def find(self, order_id: int) -> Answer:
        """Look an order up."""
        return await self._send(RequestKind.FIND, lambda: self._client.find(order_id))

    async def cancel(self, order_id: int, user_id: int) -> Answer:
        """Cancel an order."""
        return await self._send(RequestKind.CANCEL, lambda: self._client.cancel(order_id, user_id))

    async def return_order(self, order_id: int, user_id: int) -> Answer:
        """Return an order."""
        return await self._send(
            RequestKind.RETURN, lambda: self._client.return_order(order_id, user_id)
        )

    async def open_payment(self, order_id: int) -> Answer:
        """Open the payment of an order."""
        return await self._send(
            RequestKind.OPEN_PAYMENT, lambda: self._client.create_payment(order_id)
        )

    async def press(self, cashier_url: str, button: RequestKind) -> Answer:
        """Press a button of the cashier page."""
        return await self._send(button, lambda: self._client.press(cashier_url, str(button)))

    async def _send(self, kind: RequestKind, send: Callable[[], httpx.Response]) -> Answer:
        self._requests[kind] += 1
        request = str(kind), self._requests[kind]
        if request in self._pauses:
            self.paused.add(request)
            await asyncio.sleep(self._pauses[request])
        try:
            response = await asyncio.to_thread(send)
        except httpx.TransportError:
            return Answer()
        try:
            data = response.json()["data"] or {}
        except (ValueError, KeyError, TypeError):
            data = {}
        return Answer(response.status_code, data)


def play(front: LabFront, stories: Sequence[str]) -> list[str]:
    """Have a customer do what each story tells, all at once; return what does not end well.

    Args:
        front: of the lab.
        stories: their names.
    """
    return asyncio.run(_play(front, stories))


async def _play(front: LabFront, stories: Sequence[str]) -> list[str]:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS))
    work = (STORIES[name](Customer(front, number)) for number, name in enumerate(stories))
    try:
        async with asyncio.timeout(_STORY_S):
            ends = await asyncio.gather(*work, return_exceptions=True)
    except TimeoutError:
        return ["a story does not end"]
    return list(_complaints(ends))


def _complaints(ends: Sequence[BaseException | None]) -> Iterator[str]:
    for end in ends:
        if isinstance(end, NoFinalAnswer):
            yield f"no final answer: {end}"
        elif end:
            yield f"a story fails: {end!r}"
