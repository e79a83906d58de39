"""The polling of payments: who asks the platform, how often, and what an answer may change."""

from collections.abc import Callable
from typing import Any

import pytest

from labkit.payment_api.trade_status import TradeStatus
from labkit.runtime.messaging.dead_letters import StuckItem
from labkit.shop.codes import Code
from labkit.shop.pay import manual, retries, steps
from labkit.shop.pay import messages as p
from tests.support import paying as s
from tests.support.paying import ORDER, TRADE, payment
from tests.support.store import OpenStore, Store

DUE = p.DueQuery(limit=10)


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """The pay database."""
    return open_store("pay")


def test_who_asks_the_platform_asks_alone(store: Store) -> None:
    """Of two instances that see the same check due, one claims it; the other has nothing to do."""
    pay_id = s.opened(store)
    store.wait(store.settings.check_first)
    assert store.run(retries.find_due_checks, DUE) == [pay_id]
    [due] = store.run(retries.claim_check, DUE)
    assert (due.pay_id, due.lease_until) == (pay_id, payment(store, pay_id)["next_check"])
    assert store.run(retries.claim_check, DUE) == []
    assert store.run(retries.find_due_checks, DUE) == []


def test_instances_share_what_is_due(store: Store) -> None:
    """Each claims what the others have not, the most overdue first, and no more than it wants."""
    ids = []
    for number in range(7):
        ids.append(s.opened(store, ORDER + number))
        store.wait_by_the_wall(0.01)
    store.wait(store.settings.check_first)
    want = p.DueQuery(limit=3)
    claimed = [[due.pay_id for due in store.run(retries.claim_check, want)] for _ in range(4)]
    assert claimed == [ids[:3], ids[3:6], ids[6:], []]


def test_the_delay_grows_to_its_limit_and_no_further(store: Store) -> None:
    """Each check is put off twice as long as the one before, less some jitter, up to check_max;
    and it never ends while the payment is open, be it a thousand checks later."""
    s.opened(store)
    delays = []
    for _ in range(30):
        [row] = store.rows("trade_pay")
        store.wait_by_the_wall((row["next_check"] - store.wall_ms()) / 1000 + 0.001)
        [due] = store.run(retries.claim_check, DUE)
        delays.append((payment(store, due.pay_id)["next_check"] - store.wall_ms()) / 1000)
    first, most = store.settings.check_first, store.settings.check_max
    for tries, delay in enumerate(delays, start=1):
        doubled = min(first * 2**tries, most)
        assert 0.74 * doubled <= delay <= doubled


def claimed(store: Store) -> p.DueCheck:
    """The one check that is due by now, claimed."""
    store.wait_by_the_wall(store.settings.check_max)
    [due] = store.run(retries.claim_check, DUE)
    return due


def trouble(store: Store, due: p.DueCheck, error: str | None = "it is away") -> None:
    """The platform could not be asked; or it could, where there is no error."""
    assert due.lease_until
    failure = p.AttemptFailure(id=due.pay_id, lease_until=due.lease_until, error=error)
    store.run(retries.note_check_trouble, failure)


def test_a_trouble_is_kept_until_the_platform_answers(store: Store) -> None:
    """Why the platform could not be asked is seen, and no longer once it was; a callback that says
    nothing new does not end it."""
    pay_id = s.opened(store)
    trouble(store, claimed(store))
    s.take(store, pay_id, TradeStatus.WAIT_BUYER_PAY)
    assert payment(store, pay_id)["last_error"] == "it is away"
    due = claimed(store)
    assert due.troubled
    trouble(store, due, None)
    assert payment(store, pay_id)["last_error"] is None


OVERTAKEN = {
    "paid": lambda store, pay_id: s.take(store, pay_id),
    "closed at the platform": lambda store, pay_id: s.take(store, pay_id, TradeStatus.TRADE_CLOSED),
    "closed by its order": lambda store, _: s.end(store),
    "given up": lambda store, pay_id: store.run(manual.give_up_payment, StuckItem(number=pay_id)),
    "claimed by another": lambda store, _: claimed(store),
}


@pytest.mark.parametrize("answer", ["none came", None])
@pytest.mark.parametrize("meanwhile", OVERTAKEN.values(), ids=OVERTAKEN.keys())
def test_an_answer_that_was_overtaken_writes_nothing(
    store: Store, meanwhile: Callable[[Store, int], Any], answer: str | None
) -> None:
    """Whatever became of a payment while it was asked about: neither a trouble nor its end is
    noted, so that a paid one is no dead letter, and one that was given up stays on the list."""
    pay_id = s.opened(store)
    trouble(store, claimed(store), "an earlier one")
    due = claimed(store)
    meanwhile(store, pay_id)
    before = store.everything()
    trouble(store, due, answer)
    assert store.everything() == before


def test_a_refund_that_was_made_has_no_trouble(store: Store) -> None:
    """Two tries meet, the first is answered: that the second is not writes nothing any more."""
    refund = s.refunding(store)
    [due] = store.run(retries.claim_refund, DUE)
    store.run(steps.finish_refund, s.answered(refund))
    before = store.everything()
    failure = p.AttemptFailure(id=due.refund_id, lease_until=due.lease_until, error="it is away")
    store.run(retries.note_refund_trouble, failure)
    assert store.everything() == before


def test_a_refund_that_was_given_up_keeps_its_cause(store: Store) -> None:
    """Given up while it was being sent; also once it was taken back, a late trouble is not its."""
    s.refunding(store)
    [due] = store.run(retries.claim_refund, DUE)
    thing = StuckItem(number=due.refund_id)
    for verb in (manual.give_up_payment, manual.take_back_payment):
        assert store.run(verb, thing).success
        before = store.everything()
        failure = p.AttemptFailure(
            id=due.refund_id, lease_until=due.lease_until, error="it is away"
        )
        store.run(retries.note_refund_trouble, failure)
        assert store.everything() == before


def test_a_closed_payment_is_asked_about_until_the_last_word(store: Store) -> None:
    """Once the platform has said that the trade is closed, nothing is asked any more."""
    pay_id = s.opened(store)
    s.end(store)
    assert store.run(retries.find_due_checks, DUE) == [pay_id]
    s.take(store, pay_id, TradeStatus.TRADE_CLOSED)
    assert store.run(retries.find_due_checks, DUE) == []


def test_a_trade_that_opens_after_the_end_is_closed(store: Store) -> None:
    """The order ended while the trade was being opened: the platform is asked to close it."""
    pay_id = s.opened(store)
    s.end(store)
    s.take(store, pay_id, TradeStatus.TRADE_CLOSED, trade_no=None)
    trade = p.TradeFound(pay_id=pay_id, trade_no=TRADE, trade_status=TradeStatus.WAIT_BUYER_PAY)
    answer = store.run(steps.note_trade, trade)
    assert answer.code == Code.ORDER_NOT_PAYABLE
    assert store.run(retries.find_due_checks, DUE) == [pay_id]


def test_what_was_given_up_stays_so_though_its_trade_opens(store: Store) -> None:
    """Nobody asks about it until a person takes it back; the list says so."""
    pay_id = s.opened(store)
    s.end(store)
    assert store.run(manual.give_up_payment, StuckItem(number=pay_id)).success
    trade = p.TradeFound(pay_id=pay_id, trade_no=TRADE, trade_status=TradeStatus.WAIT_BUYER_PAY)
    store.run(steps.note_trade, trade)
    assert store.run(retries.find_due_checks, DUE) == []
    assert payment(store, pay_id)["last_error"] == "given up by hand"


@pytest.mark.parametrize(
    ("what", "code"),
    [
        (s.take, Code.PAYMENT_ALREADY_PAID),
        (lambda store, pay_id: s.take(store, pay_id, TradeStatus.TRADE_CLOSED), Code.PAYMENT_ERROR),
        (lambda store, _: s.end(store), Code.ORDER_NOT_PAYABLE),
        (lambda *_: None, Code.SUCCESS),
    ],
    ids=["paid", "given up", "ended", "open"],
)
def test_whether_a_payment_is_open_is_said_with_its_trade(
    store: Store, what: Callable[[Store, int], Any], code: Code
) -> None:
    """A user who opens a payment is told what became of it, from the row that decides."""
    pay_id = s.opened(store)
    what(store, pay_id)
    trade = p.TradeFound(pay_id=pay_id, trade_no=TRADE, trade_status=TradeStatus.WAIT_BUYER_PAY)
    assert store.run(steps.note_trade, trade).code == code
