"""The handlers of the admin service: how a service answers the audits of others, and people."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from labkit.results import Result
from labkit.runtime.codes import RuntimeCode
from labkit.runtime.messaging import dead_letters, forgetting, inbox, outbox
from labkit.runtime.messaging.admin import Edge
from labkit.runtime.messaging.consumer import EventConsumer
from labkit.runtime.messaging.dead_letters import StuckItem
from labkit.runtime.messaging.inbox import Missing, MissingQuery
from labkit.runtime.messaging.ports import StepRunner
from labkit.runtime.messaging.reading import LostQuery, Reading
from labkit.runtime.rpc.ports import Handler, Work
from labkit.runtime.steps import Step

StuckItemStep = Step[StuckItem, Result[None]]


class AdminHandlers:
    """Answers the calls of `AdminService` for one service process.

    Args:
        service: its name.
        database: its database; outbox and inbox lie in it.
        consumer: of its events.
        manual_steps: `give_up` and `take_back` → the step that does it with an item of the
            service's own.
    """

    def __init__(
        self,
        service: str,
        database: StepRunner,
        consumer: EventConsumer,
        manual_steps: Mapping[str, StuckItemStep],
    ) -> None:
        self._service = service
        self._database = database
        self._consumer = consumer
        self._manual_steps = manual_steps

    def table(self, ask_around: Callable[[], Awaitable[tuple[Edge, ...]]]) -> dict[str, Handler]:
        """Return the handler of each call.

        Args:
            ask_around: asks the services that this one calls.
        """
        return {
            "find_missing": self._find_missing,
            "find_lost": lambda query, expires: _begin(self._find_lost(query, expires)),
            "find_held": lambda query, expires: self._database.ask(
                forgetting.find_held, query, expires
            ),
            "retry": lambda item, _expires: _begin(self._retry(item)),
            "give_up": lambda item, _expires: _begin(self._drive(dead_letters.give_up, item)),
            "take_back": lambda item, _expires: _begin(self._drive(dead_letters.take_back, item)),
            "ask_around": lambda _query, _expires: _begin(ask_around()),
        }

    def _find_missing(self, query: MissingQuery, expires: float) -> "asyncio.Future[Missing]":
        return self._database.ask(inbox.find_missing, query, expires)

    async def _find_lost(self, query: LostQuery, expires: float) -> Reading:
        behind_s = {  # asked first, so that it holds for what is found then
            event_id: self._consumer.behind_s(*route) for event_id, route in query.routes.items()
        }
        missing = await self._database.ask(inbox.find_missing, query, expires, behind_writes=True)
        return Reading(missing=missing, behind_s=behind_s)

    async def _retry(self, item: StuckItem) -> Result[None]:
        """Drive one event by hand, on its way out or in."""
        if not item.outbox:
            return await self._consumer.retry(item)
        if await self._database.run(outbox.hurry, item.number):
            return Result[None].ok(message=f"event {item.number} is sent again now")
        text = f"event {item.number} is settled, or was never in the outbox of {self._service}"
        return Result[None].refused(RuntimeCode.BAD_REQUEST, text)

    async def _drive(self, step: StuckItemStep, item: StuckItem) -> Result[None]:
        """Run a step on an event, or the service's own step on an item of its own."""
        result = await self._database.run(step, item)
        own = self._manual_steps.get(step.name)
        return await self._database.run(own, item) if own and not result.success else result


def _begin(work: Awaitable[object]) -> Work:
    return asyncio.ensure_future(work)
