"""What befalls a message between its outbox and the broker, where a rule says so."""

import asyncio
import time

from labkit.runtime.injection.standing import Rule, Rules

_HOLD_SECONDS = 1.0
_LOOK_SECONDS = 0.02


class MessageFaults:
    """What befalls the messages that one process sends.

    Args:
        rules: of the home.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._held: dict[str, asyncio.Event] = {}

    async def apply(self, topic: str) -> bool:
        """Have a message be late, or be overtaken; whether it is to be sent twice."""
        for rule in self._rules.of("late", topic):
            self._rules.meet(rule)
            await self._wait(rule, rule.amount, asyncio.Event())
        for rule in self._rules.of("reordered", topic):
            await self._hold_back(rule, topic)
        twice = self._rules.of("duplicated", topic)
        for rule in twice:
            self._rules.meet(rule)
        return bool(twice)

    def gone(self, topic: str) -> None:
        """A message has gone: who was held back for it may go as well."""
        if held := self._held.pop(topic, None):
            held.set()

    async def _hold_back(self, rule: Rule, topic: str) -> None:
        """Wait until a later one has gone, but not for ever: perhaps none comes."""
        if topic in self._held:
            return  # this is the later one
        overtaken = self._held[topic] = asyncio.Event()
        await self._wait(rule, _HOLD_SECONDS, overtaken)
        if overtaken.is_set():
            self._rules.meet(rule)
        else:
            del self._held[topic]

    async def _wait(self, rule: Rule, seconds: float, done: asyncio.Event) -> None:
        """Wait until it is done or the time is over, and no longer than the rule stands."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not done.is_set() and self._rules.stands(rule):
            await asyncio.sleep(_LOOK_SECONDS)
