"""Scenarios of placing an order: it goes well, fails at the end, is asked for twice, is left."""

from concurrent.futures import ThreadPoolExecutor

from labkit.matrix.customer import Placed, Unexpected
from labkit.matrix.scenario import (
    IS_ABSENT,
    IS_CANCELLED,
    IS_PAID,
    IS_PLACED,
    Script,
    scenario,
)
from labkit.matrix.stage import ScenarioContext

_CONFIRM = "order.confirm_pre_order.before_commit"
#: An order has 3 s in a lab of the matrix, and 2.5 s until its web answers: see `labs`.
_LATE, _IN_TIME = 3.2, 2.0
_IS_ANYTHING = IS_PLACED | IS_CANCELLED | IS_ABSENT
#: Price of the first goods, which one order buys one of, in cents.
_PRICE = 5_000_00


@scenario("accepted", "an order takes stock, a coupon and balance, and waits to be paid")
def accepted(stage: ScenarioContext) -> Script:
    """An order that is placed; or cancelled, where a service was away for longer than a call."""
    yield
    order = stage.user.place(coupon=True, money_paid=1_00)
    return {order: IS_PLACED if stage.undisturbed else IS_PLACED | IS_CANCELLED}


@scenario("accepted-paid", "an order that its user's balance pays whole is placed and paid at once")
def accepted_paid(stage: ScenarioContext) -> Script:
    """An order that leaves nothing to pay."""
    yield
    order = stage.user.place(money_paid=_PRICE)
    if order.status == 200:
        stage.user.sees_paid(order)
    return {order: IS_PAID if stage.undisturbed else IS_PAID | IS_CANCELLED}


@scenario("repeated", "the same key brings the same order, and with another request it is refused")
def repeated(stage: ScenarioContext) -> Script:
    """A request that comes again."""
    order = stage.user.order(money_paid=1_00)
    yield
    again = stage.user.again(order)
    if again != order:
        raise Unexpected(f"the same request was answered {order}, and then {again}")
    other = type(order)({**order.body, "money_paid": 2_00}, order.key)
    refused = stage.user.refused(other)
    if refused.name != "IDEMPOTENCY_KEY_REUSED":
        raise Unexpected(f"another request under the same key was answered {refused}")
    if stage.user.find(order)["money_paid"] != 1_00:
        raise Unexpected("the order is not the first one")
    return {order: IS_PLACED}


@scenario("confirm-fails", "the last step fails: the order is cancelled, and all it took returns")
def confirm_fails(stage: ScenarioContext) -> Script:
    """An order that cannot be confirmed; asked again after a crash, perhaps it can."""
    yield
    stage.breaks(_CONFIRM, "refuse")
    order = stage.user.place(coupon=True, money_paid=1_00)
    return {order: IS_CANCELLED if stage.undisturbed else IS_CANCELLED | IS_PLACED}


@scenario("abandoned", "an order's flow dies, and nobody asks again: a sweeper cancels the order")
def abandoned(stage: ScenarioContext) -> Script:
    """An order whose flow and whose web die before it is confirmed."""
    yield
    stage.breaks(_CONFIRM, "delay:2")
    with ThreadPoolExecutor(1) as pool:
        placing = pool.submit(stage.user.place_once, coupon=True, money_paid=1_00)
        stage.user.wait(lambda: not stage.idle() or placing.done(), "the order is on its way")
        stage.power_cut("order", "order-web")
        order = placing.result()
    return {order: IS_CANCELLED if stage.undisturbed else _IS_ANYTHING}


@scenario("ruled-out", "an order is looked for and not there in its time: it never comes to be")
def ruled_out(stage: ScenarioContext) -> Script:
    """An order whose flow hangs for longer than it has, and whose user stops asking at a 404."""
    yield
    stage.breaks("order.find_goods.after_call", f"delay:{_LATE}")
    order = _placed_in_vain(stage)
    if order.order_id is not None:
        stage.user.look_up(order.order_id)
    return {stage.user.again(order): IS_ABSENT if stage.undisturbed else _IS_ANYTHING}


@scenario("stalled", "an order is looked for while the commit that saves it hangs past its time")
def stalled(stage: ScenarioContext) -> Script:
    """A clock was read in time, and time passes between that and the commit."""
    saved = "order.save_pre_order.after_commit"
    before = stage.hits(saved)
    yield
    stage.breaks("order.find_goods.after_call", f"delay:{_IN_TIME}")
    stage.breaks("order.save_pre_order.before_commit", "stall:3")
    order = _placed_in_vain(stage)
    if order.order_id is not None:
        stage.user.look_up(order.order_id)
    if stage.undisturbed:
        stage.user.wait(lambda: stage.hits(saved) > before, "the commit that hung is over")
    return {order: _IS_ANYTHING}


def _placed_in_vain(stage: ScenarioContext) -> Placed:
    """Place an order whose flow takes longer than its web waits: the answer names it at least."""
    order = stage.user.place_once(money_paid=1_00)
    if stage.undisturbed and order.status != 202:
        raise Unexpected(f"placing an order is to take too long, and was answered {order}")
    return order


@scenario("cancelled", "its user cancels an order, and all that it took comes back")
def cancelled(stage: ScenarioContext) -> Script:
    """An order that is cancelled before it is paid."""
    order = stage.user.order(coupon=True, money_paid=1_00)
    yield
    stage.user.cancel(order)
    return {order: IS_CANCELLED}
