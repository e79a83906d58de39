"""The way out of one end of a stream: what is put in one turn of the loop goes out together."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic

from labkit.runtime.rpc.protocol import T, pack, take_batch


class Batches(Generic[T]):
    """Calls or answers on their way out.

    Args:
        is_wanted: tells of an item whether anybody still waits for it.
        is_lost: tells of each message whether the network loses it.
    """

    def __init__(
        self,
        is_wanted: Callable[[T], bool] | None = None,
        is_lost: Callable[[], bool] = lambda: False,
    ) -> None:
        self._is_wanted: Callable[[T], bool] = is_wanted or (lambda _item: True)
        self._is_lost = is_lost
        self._items: deque[T] = deque()
        self._transport: asyncio.Transport | None = None
        self._is_paused = False
        self._is_ending = False
        self._is_flushing = False  # or will, when this turn of the loop is over

    def put(self, item: T) -> None:
        """Send an item when this turn of the loop is over."""
        self._items.append(item)
        if not self._is_flushing:
            self._is_flushing = True
            asyncio.get_running_loop().call_soon(self.flush)

    def open(self, transport: asyncio.Transport) -> None:
        """Send on a transport, from now on, and what waits already."""
        self._transport = transport
        self.flush()

    def pause(self) -> None:
        """Send nothing until `resume`: the other side does not read."""
        self._is_paused = True

    def resume(self) -> None:
        """Send what had to wait."""
        self._is_paused = False
        self.flush()

    def flush(self) -> None:
        """Send what waits, while the other side reads it."""
        self._is_flushing = False
        transport = self._transport
        while self._items and transport and not (self._is_paused or transport.is_closing()):
            batch = [item for item in take_batch(self._items) if self._is_wanted(item)]
            if batch and not self._is_lost():
                transport.write(pack(batch))
        if self._is_ending and transport and not self._items:
            transport.close()  # which sends what it has

    def finish(self) -> None:
        """Close the transport when everything is sent."""
        self._is_ending = True
        self.flush()

    def stop(self) -> None:
        """Send what can be sent now, and nothing more."""
        self.flush()
        self._transport = None
        self._items.clear()
