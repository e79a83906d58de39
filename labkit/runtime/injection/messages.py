"""Faults of messages, between the outbox and the broker."""

import asyncio
import time

from labkit.runtime.injection.standing import FaultKind, StandingFault, StandingFaults

#: How long a message waits for a later one to overtake it.
_HOLD_S = 1.0
#: How often a message that waits looks whether its fault still stands.
_POLL_S = 0.02


class MessageFaults:
    """Applies standing faults to the messages that one process sends.

    Args:
        faults: the standing faults of the home.
    """

    def __init__(self, faults: StandingFaults) -> None:
        self._faults = faults
        self._held: dict[str, asyncio.Event] = {}

    async def apply(self, topic: str) -> bool:
        """Delay a message, or let a later one overtake it, and return True if it is sent twice."""
        for fault in self._faults.of(FaultKind.LATE, topic):
            self._faults.hit(fault)
            await self._wait(fault, fault.amount, asyncio.Event())
        for fault in self._faults.of(FaultKind.REORDERED, topic):
            await self._hold_back(fault, topic)
        duplicated = self._faults.of(FaultKind.DUPLICATED, topic)
        for fault in duplicated:
            self._faults.hit(fault)
        return bool(duplicated)

    def sent(self, topic: str) -> None:
        """Release the message that was held back until this one was sent."""
        if held := self._held.pop(topic, None):
            held.set()

    async def _hold_back(self, fault: StandingFault, topic: str) -> None:
        """Wait until a later message was sent, but not for ever: perhaps none comes."""
        if topic in self._held:
            return  # this is the later one
        overtaken = self._held[topic] = asyncio.Event()
        await self._wait(fault, _HOLD_S, overtaken)
        if overtaken.is_set():
            self._faults.hit(fault)
        else:
            del self._held[topic]

    async def _wait(self, fault: StandingFault, seconds: float, done: asyncio.Event) -> None:
        """Wait until it is done or the time is over, and no longer than the fault stands."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not done.is_set() and self._faults.is_standing(fault):
            await asyncio.sleep(_POLL_S)
