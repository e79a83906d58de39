"""Whether a service is well, as it says itself."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest

from labkit.runtime.rpc.tool_client import is_well
from tests.support.counter import SECRET, Counting, as_handler, offering


async def asked(stuck: Callable[[], list[str]], secret: str = SECRET) -> tuple[bool, bool]:
    """Whether a service is well, while it serves and after its end."""
    async with offering(as_handler(Counting().add)) as (server, endpoint):
        looking = asyncio.ensure_future(server.keep_health(stuck))
        await asyncio.sleep(0)  # it looks once
        serving = await is_well(endpoint, "counter", secret, 30)
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
    return serving, await is_well(endpoint, "counter", secret, 30)


@pytest.mark.parametrize("stuck", [[], ["the writer"]], ids=["all move", "one does not"])
def test_only_who_serves_and_moves_is_well(stuck: list[str]) -> None:
    """A process whose thread does not move says no; one that has ended says nothing."""
    assert asyncio.run(asked(lambda: stuck)) == (not stuck, False)


def test_strangers_are_not_answered() -> None:
    """Health is told to who knows the secret of the home."""
    assert asyncio.run(asked(list, secret="guessed")) == (False, False)
