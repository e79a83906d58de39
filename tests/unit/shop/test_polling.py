"""Looking after many payments: bounded, shared, and held up by nobody who is slow."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from labkit.payment_api import keys
from labkit.results import Result
from labkit.runtime.errors import Unknown
from labkit.settings import Settings
from labkit.shop import tables
from labkit.shop.pay import messages as p
from labkit.shop.pay import polling
from tests.support.payworld import PayWorld
from tests.support.store import OpenStore

KEY = keys.new()
MOST = 24  # questions under way at once
DUE, NEVER = 1, 2**60  # wall-clock ms


@pytest.fixture
def world(open_store: OpenStore) -> Iterator[PayWorld]:
    """Shop and platform, with goods and money enough."""
    world = PayWorld(open_store, KEY)
    world.open_with(stock=10**6, balance=10**9)
    yield world
    world.close()


class SlowPlatform:
    """A platform that answers about some payments only when it is let.

    Attributes:
        broken: the payments over which asking fails.
        let: set when it answers.
        asked: the payments that it was asked about.
        most: how many questions were under way at once.
    """

    def __init__(self, world: PayWorld, slow: set[int]) -> None:
        self._platform = world.shop.platform
        self._slow = slow
        self.broken: set[int] = set()
        self.let = asyncio.Event()
        self.asked: list[int] = []
        self.under_way = self.most = 0

    async def query_trade(self, query: p.AskTrade) -> Result[p.TradeFound]:
        """Ask what became of a trade."""
        self.asked.append(query.pay_id)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        if query.pay_id in self._slow:
            await self.let.wait()
        self.under_way -= 1
        if query.pay_id in self.broken:
            raise ZeroDivisionError
        return await self._platform.query_trade(query)

    async def is_asked(self, pay_ids: list[int]) -> None:
        """Wait until it was asked about payments."""
        while not set(pay_ids) <= set(self.asked):
            await asyncio.sleep(0.01)


def opened(world: PayWorld, number: int) -> list[int]:
    """The ids of so many open payments."""
    return [int(world.create(world.place()).data.pay_id) for _ in range(number)]


def set_check(world: PayWorld, pay_ids: list[int], next_check: int) -> None:
    """Set when the platform is to be asked about payments (wall-clock ms)."""
    mine = tables.pay.c.pay_id.in_(pay_ids)
    with world.stores["pay"].engine.begin() as connection:
        connection.execute(tables.pay.update().where(mine).values(next_check=next_check))


def shop_of(world: PayWorld, platform: SlowPlatform) -> Any:
    """The pay service, as the sweep sees it: a platform of its own, and it looks often."""
    shop: Any = world.shop
    shop.platform, shop.settings = platform, Settings(sweep_interval=0.02)
    return shop


def test_a_slow_answer_holds_up_nobody_else(world: PayWorld) -> None:
    """While one question is not answered, what falls due is asked about by the same sweep."""
    slow, *rest = opened(world, 4)
    set_check(world, [slow], DUE)
    set_check(world, rest, NEVER)
    platform = SlowPlatform(world, {slow})
    shop = shop_of(world, platform)

    async def play() -> None:
        sweep = asyncio.create_task(polling.check_payments.function(shop, None))
        async with asyncio.timeout(120):
            await platform.is_asked([slow])
            set_check(world, rest, DUE)
            await platform.is_asked([slow, *rest])
            assert not sweep.done()
            platform.let.set()
            await sweep

    world.do(play())


def test_what_is_due_is_asked_about_and_no_more_at_once_than_there_is_room(
    world: PayWorld,
) -> None:
    """However much is due, one sweep asks about all of it, each once, and bounds what it holds."""
    ids = opened(world, 3 * MOST)
    set_check(world, ids, DUE)
    platform = SlowPlatform(world, set())
    world.do(polling.check_payments.function(shop_of(world, platform), None))
    assert sorted(platform.asked) == sorted(ids)
    assert 1 < platform.most <= MOST


def test_one_that_fails_fails_alone(world: PayWorld) -> None:
    """A defect over one payment is told once the others are asked about, and they are."""
    broken, *rest = opened(world, 5)
    set_check(world, [broken, *rest], DUE)
    platform = SlowPlatform(world, set())
    platform.broken = {broken}
    with pytest.raises(ZeroDivisionError):
        world.do(polling.check_payments.function(shop_of(world, platform), None))
    assert sorted(platform.asked) == sorted([broken, *rest])
    assert platform.under_way == 0


def test_a_payment_does_not_fail_for_want_of_a_name(world: PayWorld) -> None:
    """The goods service is away: the cashier shows the number of the goods."""

    async def is_away(_command: Any) -> Any:
        raise Unknown("goods gave no answer")

    shop: Any = world.shop
    shop.goods = SimpleNamespace(find_goods=is_away)
    answer = world.create(world.place())
    assert answer.data, answer.message
    assert world.trade(answer.data.pay_id)["subject"] == "goods 1 × 2"
