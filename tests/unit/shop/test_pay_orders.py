"""All orders in which what befalls one payment can come, and a crash of the pay service in each.

Callback, second callback, query, user's cancel, time-out and the answer to a refund: 720 orders,
each played on the real databases of all services and of the platform.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

import pytest

from labkit.payment_api import keys
from labkit.shop.messages import OrderPaid
from labkit.shop.states import OrderStatus, PaymentState, PayStatus, RefundState
from tests.support.payworld import AMOUNT, BALANCE_USED, Died, PayWorld, Told
from tests.support.store import POINTS, Row, Store

EVENTS = ("callback", "second callback", "query", "user cancel", "time-out", "refund answer")
STOCK, MONEY = 10**6, 10**9  # enough for all orders
MOST_STEPS = 9  # more than the pay service runs for any event
YUAN = AMOUNT // 100


#: When messages reach their groups, given those that were there before the event.
Delivery = Callable[[PayWorld, list[Told]], None]


def at_once(world: PayWorld, _before: list[Told]) -> None:
    world.deliver(world.undelivered())


def in_disorder(world: PayWorld, before: list[Told]) -> None:
    """One event late and the newest first; that the order is paid, after everything else."""
    world.deliver([event for event in before[::-1] if not isinstance(event[1], OrderPaid)])


@dataclass
class Play:
    """One order and its payment, and what befalls them.

    Args:
        world: with its databases.
        delivery: when messages reach their groups.
        early: whether the buyer has paid before anything else; else just before a callback.
        look: called before each event with its place.

    Attributes:
        died: whether the pay service did.
    """

    world: PayWorld
    delivery: Delivery
    early: bool
    look: Callable[["Play", int], None] = lambda _play, _at: None
    died: bool = False

    def run(self, events: Sequence[str], crash: tuple[int, int, str] | None = None) -> Row:
        """Play the events in this order, settle, and give the outcome.

        Args:
            events: in which order.
            crash: at which event, at which step of the pay service in it, before or after its
                commit.
        """
        self.order_id = self.world.place()
        self.pay_id = self.world.create(self.order_id).data.pay_id
        if self.early:
            self.world.press(self.pay_id)
        for at, event in enumerate(events):
            self.look(self, at)
            before = self.world.undelivered()
            self.world.crash = crash[1:] if crash and crash[0] == at else None
            self.survive(lambda event=event: self.apply(event))
            self.survive(lambda before=before: self.delivery(self.world, before))
            self.world.crash = None
        self.world.deliver(self.world.undelivered()[::-1])
        self.world.settle()
        return self.outcome()

    def apply(self, event: str) -> None:
        if "callback" in event:
            self.world.press(self.pay_id)
            self.world.call_back(self.pay_id)
        elif event == "query":
            self.world.query()
        elif event == "user cancel":
            self.world.cancel(self.order_id)
        elif event == "time-out":
            self.world.time_out()
        elif event == "refund answer":
            self.world.refund()

    def survive(self, work: Callable[[], None]) -> None:
        """Where the pay service dies over it, it is started again, and the same comes again."""
        try:
            work()
        except Died:
            self.died, self.world.crash = True, None
            work()

    def state(self) -> tuple[Any, ...]:
        """Return what decides about the next event: the rows of all, without ids and times."""
        stores, mine = self.world.stores, {"order_id": self.order_id}
        pay = stores["pay"].row("trade_pay", pay_id=self.pay_id)
        accepted = stores["pay"].rows("trade_operation", operation="accept_payment", **mine)
        refund = stores["pay"].rows("trade_refund", pay_id=self.pay_id)
        row = stores["order"].row("trade_order", **mine)
        return (
            row["order_status"],
            row["pay_status"],
            pay["is_paid"],
            pay["next_check"] is None,
            *(operation["outcome"] for operation in accepted),
            *(f"refund {request['state']}" for request in refund),
            self.world.trade(self.pay_id)["trade_status"],
            *(event.topic for _, event in self.world.undelivered()),
        )

    def outcome(self) -> Row:
        """Everything that is left of the order in all databases, without ids and times."""
        stores, mine = self.world.stores, {"order_id": self.order_id}
        row, trade = stores["order"].row("trade_order", **mine), self.world.trade(self.pay_id)
        pay = stores["pay"].row("trade_pay", pay_id=self.pay_id)
        refunds = stores["pay"].rows("trade_refund", pay_id=self.pay_id)
        made = stores["platform"].rows("platform_refund", out_trade_no=self.pay_id)
        assert [refund["refund_id"] for refund in refunds] == [
            platform_refund["out_request_no"] for platform_refund in made
        ]
        assert pay["trade_no"] in (None, str(trade["trade_no"]))

        def logged(service: str, table: str, *columns: str) -> list[tuple[Any, ...]]:
            rows = stores[service].rows(table, **mine)
            return [tuple(line[column] for column in columns) for line in rows]

        return {
            "order": (row["order_status"], row["pay_status"]),
            "refund noted": row["refund_time"] is not None,
            "pay": pay["is_paid"],
            "open": pay["open_order_id"],
            "next": pay["next_check"],
            "refunds": [(refund["state"], refund["amount"]) for refund in refunds],
            "trade": (trade["trade_status"], trade["refunded_amount"]),
            "platform refunds": [platform_refund["amount"] for platform_refund in made],
            "points": logged("user", "trade_user_score_log", "score_log_type", "use_score"),
            "balance": logged("user", "trade_user_money_log", "money_log_type", "use_money"),
            "stock": logged("goods", "trade_goods_number_log", "direction", "goods_number"),
            "log": logged("log", "trade_pay_log", "direction", "amount"),
            "told": sorted(self.world.topics(self.order_id)),
        }


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


@pytest.mark.timeout(400)
def test_all_orders_of_what_befalls_a_payment(game: Game) -> None:
    """720 orders: each ends as one that stands and was paid once, or as one that was cancelled and
    holds nothing, its money back once; whatever is left of it agrees everywhere, to the cent."""
    counts = Counter(name_of(end) for end in game.ends.values())
    print(dict(counts))
    assert len(game.ends) == 720
    assert counts["stands"] == game.stands
    assert len(counts) > 1
    agrees(game)


@pytest.mark.timeout(400)
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
