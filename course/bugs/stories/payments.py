"""Stories of payments: lies of a third party, and answers that are overtaken."""

import httpx

from course.bugs.stories.story import hits, story
from labkit.matrix import overtaken_answers
from labkit.matrix.context import ScenarioContext
from labkit.matrix.customer import Placed, Unexpected
from labkit.matrix.scenario import IS_PAID, IS_PLACED, Script
from labkit.ops.drive import ManualAction
from tests.support import crowded, repeated_ids
from tests.support.forged_callbacks import Forger
from tests.support.history import History


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
    before = hits(context, noted)
    context.drive(id, ManualAction.GIVE_UP)
    context.customer.wait_until(lambda: hits(context, noted) > before, "the answer has come")
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
story("refund-id-taken", "a payment is given back under an id that another refund has")(
    repeated_ids.refund_id_taken
)
story("slow-answer", "the platform is slow about one payment, and silent about another")(
    crowded.slow_answer
)
story("large-callbacks", "many large callbacks come at once")(crowded.large_callbacks)


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
