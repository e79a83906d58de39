"""All orders in which what befalls one payment can come, and a crash of the pay service in each.

Callback, second callback, query, user's cancel, time-out and the answer to a refund: 720 orders,
each played on the real databases of all services and of the platform.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import permutations, product
from typing import Any

import pytest

from labkit.payment_api import keys
from labkit.shop.states import OrderStatus, PaymentState, PayStatus, RefundState
from tests.support.payment_play import Delivery, Play, at_once, in_disorder
from tests.support.payworld import AMOUNT, BALANCE_USED, PayWorld
from tests.support.store import POINTS, Row, Store

EVENTS = ("callback", "second callback", "query", "user cancel", "time-out", "refund answer")
STOCK, MONEY = 10**6, 10**9  # enough for all orders
MOST_STEPS = 9  # more than the pay service runs for any event
YUAN = AMOUNT // 100

BALANCE_LOG, STOCK_LOG = (1, BALANCE_USED), ("deduct", 2)
#: The order stands, and was paid once.
STANDS = {
    "order": (OrderStatus.CONFIRMED, PayStatus.PAID),
    "refund noted": False,
    "pay": PaymentState.PAID,
    "open": None,
    "next": None,
    "refunds": [],
    "trade": ("TRADE_SUCCESS", 0),
    "platform refunds": [],
    "points": [(1, YUAN)],
    "balance": [BALANCE_LOG],
    "stock": [STOCK_LOG],
    "log": [("paid", AMOUNT)],
    "told": ["paid"],
}
_CANCELLED = {
    "order": (OrderStatus.CANCELLED, PayStatus.UNPAID),
    "open": None,
    "next": None,
    "balance": [BALANCE_LOG, (2, BALANCE_USED)],
    "stock": [STOCK_LOG, ("return", 2)],
}
_BACK = {
    "refund noted": True,
    "pay": PaymentState.PAID,
    "refunds": [(RefundState.REFUNDED, AMOUNT)],
    "trade": ("TRADE_SUCCESS", AMOUNT),
    "platform refunds": [AMOUNT],
}
#: It was cancelled before the money came, which went back.
CAME_TOO_LATE = (
    _CANCELLED
    | _BACK
    | {
        "points": [],
        "log": [],
        "told": ["order_cancel", "refunded"],
    }
)
_TWICE = {"told": ["order_cancel", "paid", "refunded"]}
#: It was paid and cancelled at once: what the payment had brought went back with the money.
UNDONE = (
    _CANCELLED
    | _BACK
    | _TWICE
    | {
        "points": [(1, YUAN), (2, YUAN)],
        "log": [("paid", AMOUNT), ("refunded", AMOUNT)],
    }
)
#: The same, where a consumer heard of the refund before it heard of the payment.
NEVER_BROUGHT = UNDONE | {"points": [], "log": []}
#: Nobody paid in time.
NOT_PAID = _CANCELLED | {
    "refund noted": False,
    "pay": PaymentState.CLOSED,
    "refunds": [],
    "trade": ("TRADE_CLOSED", 0),
    "platform refunds": [],
    "points": [],
    "log": [],
    "told": ["order_cancel"],
}
OUTCOMES = {
    "stands": STANDS,
    "came too late": CAME_TOO_LATE,
    "undone": UNDONE,
    "never brought": NEVER_BROUGHT,
    "not paid": NOT_PAID,
}


def name_of(outcome: Row) -> str:
    """Which of the outcomes it is, field by field; all others are breaches."""
    for name, wanted in OUTCOMES.items():
        if outcome == wanted:
            return name
    near = min(
        OUTCOMES.items(), key=lambda named: sum(named[1][key] != outcome[key] for key in outcome)
    )
    wrong = {key: (outcome[key], near[1][key]) for key in outcome if outcome[key] != near[1][key]}
    raise AssertionError(f"nearest to {near[0]!r}; is, should be: {wrong}")


class Game:
    """All 720 orders, played once on one set of databases, and what they met on their way.

    Attributes:
        ends: order of events → outcome.
        met: state and event → the first order of events that met it, and where in it.
        played: how many orders were placed.
    """

    def __init__(self, world: PayWorld, delivery: Delivery, early: bool) -> None:
        world.open_with(stock=STOCK, balance=MONEY)
        self.world, self._how = world, (delivery, early)
        self.ends: dict[tuple[str, ...], Row] = {}
        self.met: dict[tuple[Any, ...], tuple[tuple[str, ...], int]] = {}
        self.stands = self.played = 0
        seen_prefixes: set[tuple[str, ...]] = set()
        for events in permutations(EVENTS):

            def look(play: Play, at: int, events: tuple[str, ...] = events) -> None:
                if events[: at + 1] not in seen_prefixes:  # the same events lead to the same state
                    seen_prefixes.add(events[: at + 1])
                    self.met.setdefault((play.state(), events[at]), (events, at))

            self.ends[events], _ = self.play(events, look=look)

    def play(
        self, events: tuple[str, ...], crash: tuple[int, int, str] | None = None, **how: Any
    ) -> tuple[Row, bool]:
        """Play one order: its outcome, and whether the pay service died."""
        play = Play(self.world, *self._how, **how)
        outcome = play.run(events, crash)
        self.played += 1
        self.stands += outcome == STANDS
        return outcome, play.died


GAMES = {"messages at once": (at_once, True), "in disorder, paid late": (in_disorder, False)}


@pytest.fixture(scope="module", params=GAMES.values(), ids=GAMES.keys())
def game(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Game]:
    """All orders are played once for both tests, on databases that they share."""
    stores = []

    def open_store(service: str) -> Store:
        stores.append(Store(service, tmp_path_factory.mktemp(service)))
        return stores[-1]

    world = PayWorld(open_store, keys.new())
    yield Game(world, *request.param)
    world.close()
    for store in stores:
        store.engine.dispose()


def agrees(game: Game) -> None:
    """Money at the platform is money in the shop, and nothing is held but by orders that stand."""
    stands, held = game.stands, BALANCE_USED * game.stands
    assert game.world.left() == (STOCK - 2 * stands, MONEY - held, POINTS + YUAN * stands)
    assert game.world.money() == (AMOUNT * stands, AMOUNT * stands)


@pytest.mark.timeout(900)
def test_all_orders_of_what_befalls_a_payment(game: Game) -> None:
    """720 orders: each ends as one that stands and was paid once, or as one that was cancelled and
    holds nothing, its money back once; whatever is left of it agrees everywhere, to the cent."""
    counts = Counter(name_of(end) for end in game.ends.values())
    print(dict(counts))
    assert len(game.ends) == 720
    assert counts["stands"] == game.stands
    assert len(counts) > 1
    agrees(game)


@pytest.mark.timeout(900)
def test_a_crash_in_each_state_at_each_event(game: Game) -> None:
    """The pay service is killed once in every state that those orders know, at every event, at
    each of its steps there, before and after the commit; started again, it ends as it did without.
    """
    crashes = 0
    for events, at in game.met.values():
        for nth, when in product(range(MOST_STEPS), ("before", "after")):
            outcome, died = game.play(events, (at, nth, when))
            if not died:
                break
            crashes += 1
            assert outcome == game.ends[events], (events, at, nth, when)
    print(f"{len(game.met)} states and events, {crashes} crashes")
    assert crashes > len(game.met) / 2
    agrees(game)
