"""Stories that find what no crash shows: races, lies of a third party, a neighbour that fails.

They are told like the scenarios of the crash matrix, whose invariants are looked at after each, and
stand beside them: a crash in the middle would add nothing.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
from sqlalchemy import text

from labkit.faults import NotReached, points
from labkit.matrix import overtaken_answers
from labkit.matrix.context import ScenarioContext
from labkit.matrix.customer import Placed, Unexpected
from labkit.matrix.scenario import (
    IS_ABSENT,
    IS_CANCELLED,
    IS_PAID,
    IS_PLACED,
    ExpectedStates,
    Scenario,
    Script,
)
from labkit.ops.drive import ManualAction
from labkit.runtime.registry.ids import SEQUENCE_BITS, WORKERS
from tests.support import audited, crowded, full_disk, on_mysql, repeated_ids
from tests.support.forged_callbacks import Forger
from tests.support.history import History

#: Every story by its name.
STORIES: dict[str, Scenario] = {}
#: A lab opens with a million pieces and 10^11 cents of each of two users: three such orders fit.
_MUCH_STOCK, _MUCH_MONEY = 250_000, 3 * 10**10
_ITS_PIECES = 60_000  # which cost as much
_SECOND_USER = 2
_MANY = 10**6
_IS_DECIDED = IS_PLACED | IS_CANCELLED | IS_ABSENT


def story(name: str, says: str) -> Callable[[Callable[[ScenarioContext], Script]], Scenario]:
    """Enter a story; see `labkit.matrix.scenario`."""

    def enter(tell: Callable[[ScenarioContext], Script]) -> Scenario:
        STORIES[name] = Scenario(name, says, tell)
        return STORIES[name]

    return enter


def _race(context: ScenarioContext, buyers: int, **wanted: Any) -> ExpectedStates:
    """So many order the same at once; whoever is answered 200 has it."""
    with ThreadPoolExecutor(buyers) as pool:
        orders = list(pool.map(lambda _: context.customer.place(**wanted), range(buyers)))
    return {order: IS_PLACED if order.status == 200 else _IS_DECIDED for order in orders}


@story("last-pieces", "eight buy at once what is there three times")
def last_pieces(context: ScenarioContext) -> Script:
    """Race for stock."""
    yield
    return _race(context, 8, goods_number=_MUCH_STOCK)


@story("one-coupon", "eight orders want one coupon at once")
def one_coupon(context: ScenarioContext) -> Script:
    """Race for a coupon: the first is held up until the others have come, and saw it unused."""
    coupon_id = context.customer.order(coupon=True).body["coupon_id"] + 2  # the user's next one
    yield
    with context.lab.faults.armed("order.deduct_stock.before_call", "delay:0.4", times=8):
        return _race(context, 8, coupon_id=coupon_id)


@story("one-balance", "eight orders spend at once what a user has three times")
def one_balance(context: ScenarioContext) -> Script:
    """Race for a balance."""
    yield
    return _race(context, 8, user_id=_SECOND_USER, goods_number=_ITS_PIECES, money_paid=_MUCH_MONEY)


@story("rush", "32 buy at once, each a piece, each with some balance")
def rush(context: ScenarioContext) -> Script:
    """Many who do not stand in each other's way."""
    yield
    return _race(context, 32, money_paid=1_00) | _race(context, 32, money_paid=1_00)


@story("some-cents", "an order is paid with 1.50 of the balance")
def some_cents(context: ScenarioContext) -> Script:
    """Money that is no whole yuan."""
    yield
    return {context.customer.order(money_paid=1_50): IS_PLACED}


@story("with-shipping", "an order so small that its shipping is charged")
def with_shipping(context: ScenarioContext) -> Script:
    """Cheap goods."""
    cheap = text("UPDATE trade_goods SET goods_price = goods_price / 100")
    dear = text("UPDATE trade_goods SET goods_price = goods_price * 100")
    yield
    with context.lab.database("goods") as goods:
        goods.execute(cheap)
    try:
        order = context.customer.order()
        if order.body["shipping_fee"] == 0:
            raise Unexpected(f"nothing is charged for shipping: {order.body}")
    finally:
        with context.lab.database("goods") as goods:
            goods.execute(dear)
    return {order: IS_PLACED}


@story("cancelled-when-paid", "a user wants to cancel a paid order, which is not done")
def cancelled_when_paid(context: ScenarioContext) -> Script:
    """Cancel an order too late."""
    order = context.customer.order(money_paid=1_00)
    context.customer.pay(order)
    yield
    client, user_id = context.lab.client, order.body["user_id"]
    context.customer.request(lambda: client.cancel(str(order.order_id), user_id), "cancelling")
    return {order: IS_PAID}


@story("two-who-cancel", "a flow cancels its order after the sweeper has found it, and before that")
def two_who_cancel(context: ScenarioContext) -> Script:
    """Cancel an order late, and let a sweeper do it later still."""
    ended = "order.cancel_expired.after_commit"
    before = _hits(context, ended)
    yield
    context.inject("order.confirm_pre_order.before_commit", "refuse")
    context.inject("order.cancel_failed.before_commit", "delay:4.5")
    context.inject("order.cancel_expired.before_commit", "delay:2.2")
    order = context.customer.place(money_paid=1_00)
    context.customer.wait_until(
        lambda: _hits(context, ended) > before, "the sweeper has done what it wanted"
    )
    return {order: IS_CANCELLED}


@story("forged-callback", "somebody else signs that an open payment is paid")
def forged_callback(context: ScenarioContext) -> Script:
    """Lie about a payment that nobody made."""
    order, pay_id, forger = _open_payment(context)
    yield
    fields = forger.signed(forger.notice(pay_id), by="foreign")
    _must_fail(context, forger, fields, "a forged callback")
    return {order: IS_PLACED}


@story("wrong-amount", "a callback is genuine, and says that one cent was paid")
def wrong_amount(context: ScenarioContext) -> Script:
    """Pay another amount."""
    order, pay_id, forger = _open_payment(context)
    yield
    _must_fail(
        context, forger, forger.notice(pay_id, total_amount="1"), "a callback with another amount"
    )
    return {order: IS_PLACED}


@story("one-of-two", "of two orders of one price, the later one is paid")
def one_of_two(context: ScenarioContext) -> Script:
    """Two payments that look alike."""
    first, second = (context.customer.order(money_paid=1_00) for _ in range(2))
    context.customer.open_cashier(first)
    url = context.customer.open_cashier(second)
    yield
    context.customer.press(url)
    return {first: IS_PLACED, second: IS_PAID}


@story("neighbour", "a message that fails again and again holds up no other of its service")
def neighbour(context: ScenarioContext) -> Script:
    """Let the user service fail to give a balance back, and add points all the same."""
    failing, paid = (context.customer.order(money_paid=1_00) for _ in range(2))
    url = context.customer.open_cashier(paid)
    home, fault = context.lab.home, "user.return_balance.before_commit"
    yield
    points.arm(home, fault, "refuse", _MANY)
    context.customer.cancel(failing)
    context.customer.wait_until(lambda: points.remaining(home, fault) < _MANY, "a message fails")
    context.customer.press(url)
    context.customer.wait_until(
        lambda: "user" in context.inbox_rows("paid", paid),
        "the user service adds points, though another message fails",
    )
    points.disarm(home, fault)
    for event_id, _status in {context.inbox_rows("order_cancel", failing).get("user", (0, 0))}:
        context.drive(f"user.{event_id}", ManualAction.RETRY)
    return {failing: IS_CANCELLED, paid: IS_PAID}


@story("two-id-makers", "the ids of two services that run at the same time bear two numbers")
def two_id_makers(context: ScenarioContext) -> Script:
    """Ids of two processes, which repeat where both make one in one millisecond as one worker."""
    yield
    order = context.customer.order(money_paid=1_00)
    context.customer.open_cashier(order)
    ids = [int(str(order.order_id)), int(context.customer.find_payment(order)["pay_id"])]
    workers = {number >> SEQUENCE_BITS & (WORKERS - 1) for number in ids}
    if len(workers) == 1:
        raise Unexpected(f"two services make ids as the same worker: {ids}, both by {workers}")
    return {order: IS_PLACED}


@story("given-up-and-left", "a payment is given up at the cashier, and that is all")
def given_up_and_left(context: ScenarioContext) -> Script:
    """Send a callback that does not say that somebody has paid."""
    order = context.customer.order(money_paid=1_00)
    url = context.customer.open_cashier(order)
    yield
    context.customer.press(url, "give-up")
    return {order: IS_PLACED}


@story("given-up-while-asked", "a payment is given up by hand while it is asked about")
def given_up_while_asked(context: ScenarioContext) -> Script:
    """Let an answer come after a person has said that nobody asks any more.

    The payment had been in trouble before; that this is over must not take it off the list.
    """
    order = context.customer.order(money_paid=1_00)
    noted = "pay.note_check_trouble.after_commit"
    yield
    context.inject("pay.query_trade.before_call", "refuse")
    context.inject("pay.query_trade.after_call", "delay:2")
    url = context.customer.open_cashier(order)
    id = f"pay.{context.customer.find_payment(order)['pay_id']}"
    context.customer.wait_until(lambda: not context.unspent_faults(), "an answer is on its way")
    before = _hits(context, noted)
    context.drive(id, ManualAction.GIVE_UP)
    context.customer.wait_until(lambda: _hits(context, noted) > before, "the answer has come")
    context.inject("platform.notify.before_notify", "refuse")
    context.customer.press(url)
    context.drive(id, ManualAction.TAKE_BACK)
    context.customer.wait_until_paid(order)
    return {order: IS_PAID}


story("closed-before-it-is-opened", "a payment is closed before its trade is opened")(
    overtaken_answers.overtaken.script
)
story("paid-and-asked-about", "a payment is paid while it is asked about")(
    overtaken_answers.paid_while_asked.script
)


@story("disk-full", "a lab's disk is full for a while, and a service is killed meanwhile")
def disk_full(context: ScenarioContext) -> Script:  # noqa: ARG001  # it needs a lab on a small disk
    """Order on a lab of its own, which must neither die nor err."""
    yield
    _must_hold(full_disk.tell_on_a_small_disk())
    return {}


@story("clock-back", "an order is not found in its time, and then its service's clock steps back")
def clock_back(context: ScenarioContext) -> Script:
    """Hang a flow, tell its user 404, and set the clock back to when it was early after all."""
    saving = "order.save_pre_order.before_commit"
    before = _hits(context, saving)
    yield
    context.inject("order.find_goods.after_call", "delay:8")
    order = context.customer.place_once(money_paid=1_00)
    if order.order_id is None:
        raise Unexpected(f"the answer names no order: {order}")
    context.customer.look_up(order.order_id)
    with context.lab.faults.clock_stepped("order", -30):
        context.customer.wait_until(lambda: _hits(context, saving) > before, "the flow goes on")
    return {order: IS_ABSENT}


story("another-message", "a message is sent under an id under which a group has another one")(
    repeated_ids.another_message
)
story("clock-back-at-birth", "the clock of a process steps back before it has made an id")(
    repeated_ids.clock_back_at_birth
)
story("refund-id-taken", "a payment is given back under an id that another refund has")(
    repeated_ids.refund_id_taken
)
story("slow-answer", "the platform is slow about one payment, and silent about another")(
    crowded.slow_answer
)
story("large-callbacks", "many large callbacks come at once")(crowded.large_callbacks)
story("locked-while-sent", "a service's database is locked as its message comes")(
    audited.locked_while_sent
)
story("wired-later", "a message that an earlier release wrote is addressed to who came later")(
    audited.wired_later
)
story("wired-meanwhile", "a message is addressed to one more group while it is being settled")(
    audited.wired_meanwhile
)


@story("refused-for-good", "an order is refused for a used coupon, and asked for when it is free")
def refused_for_good(context: ScenarioContext) -> Script:
    """Refuse an order, and let its customer ask again under the key."""
    first = context.customer.order(coupon=True)
    yield
    refused = context.customer.place(coupon_id=first.body["coupon_id"])
    context.customer.cancel(first)
    context.customer.wait_until(
        lambda: "coupon" in context.inbox_rows("order_cancel", first), "the coupon is back"
    )
    return {first: IS_CANCELLED, refused: IS_ABSENT}


@story("unsaved", "an order cannot be saved, and is asked for again when it could be")
def unsaved(context: ScenarioContext) -> Script:
    """Refuse an order by no rule: that is final as well."""
    yield
    context.inject("order.save_pre_order.before_commit", "refuse")
    return {context.customer.place(money_paid=1_00): IS_ABSENT}


@story("slow-and-full", "goods is slow and can write to no file for a while, and then it can again")
def slow_and_full(context: ScenarioContext) -> Script:
    """Meet a service with two faults at once: it goes on when both are mended."""
    yield
    faults, placed = context.lab.faults, list[Placed]()
    with faults.slow("goods", 0.05):
        placed.append(context.customer.place_once(money_paid=1_00))
        with suppress(NotReached), faults.database_full("goods"):  # it may have ended before
            placed += [context.customer.place_once(money_paid=1_00) for _ in range(2)]

    def is_placed() -> bool:
        placed.append(context.customer.place_once(money_paid=1_00))
        return placed[-1].status == 200

    context.customer.wait_until(
        is_placed, "an order is placed after goods was slow and its disk full"
    )
    return dict.fromkeys(placed, _IS_DECIDED) | {placed[-1]: IS_PLACED}


@story("rows-held", "on MySQL a row of the goods is held, and then one of the users")
def rows_held(context: ScenarioContext) -> Script:  # noqa: ARG001  # it needs a lab on MySQL
    """Hold a row on a lab of its own: a step that needs no held row goes on."""
    yield
    _must_hold(on_mysql.tell(on_mysql.hold_rows))
    return {}


@story("long-cause", "on MySQL a message comes whose error fits no column")
def long_cause(context: ScenarioContext) -> Script:  # noqa: ARG001  # it needs a lab on MySQL
    """Hold up a message on a lab of its own: those behind it are handled."""
    yield
    _must_hold(on_mysql.tell(on_mysql.send_long_cause))
    return {}


def _must_hold(wrong: str) -> None:
    """Say what did not hold in a lab of the story's own."""
    if wrong:
        raise Unexpected(wrong)


def _hits(context: ScenarioContext, failpoint: str) -> int:
    listed = points.list_all(context.lab.home)
    return next(int(point["hits"]) for point in listed if point["name"] == failpoint)


def _open_payment(context: ScenarioContext) -> tuple[Placed, int, Forger]:
    """Open an order's payment; return it, and a forger who can sign anything about it."""
    order = context.customer.order(money_paid=1_00)
    context.customer.open_cashier(order)
    pay_id = int(context.customer.find_payment(order)["pay_id"])
    home = context.lab.home.folder
    return order, pay_id, Forger(home, History(home))


def _must_fail(context: ScenarioContext, forger: Forger, fields: dict[str, str], what: str) -> None:
    def send() -> httpx.Response:
        return forger.send(fields)

    answer = context.customer.request(send, what)
    if answer.text != "fail":
        raise Unexpected(f"{what} was answered {answer.status_code} {answer.text}")
