"""A command for every step that writes, and the state in which the step applies.

The wiring says which steps there are; a step without a case here is a failure, so that whoever adds
a step says how it is run, and all that is proven of every step is proven of it.
"""

from collections.abc import Callable
from typing import Any

from labkit.payment_api.trade_status import TradeStatus
from labkit.runtime.messaging.dead_letters import StuckItem
from labkit.runtime.steps import Event, Step
from labkit.shop import messages as m
from labkit.shop.codes import Code
from labkit.shop.pay import messages as p
from labkit.shop.wiring import SERVICES
from tests.support import paying
from tests.support import shopping as s
from tests.support.store import COUPON, Store

ORDER, PAYMENT = 1001, 2002
Case = Callable[[Store], Any]


def _steps(service: Any) -> list[tuple[Step[Any, Any], type[Event] | None]]:
    methods = [(method, None) for method in service.methods.values() if isinstance(method, Step)]
    handlers = [(handler, event) for event, handler in service.handlers.items()]
    return [
        *methods,
        *((step, None) for step in (*service.steps, *service.manual_steps.values())),
        *handlers,
    ]


#: "service.step" or "service.step(event)" → service, step, event type of a handler.
WRITING: dict[str, tuple[str, Step[Any, Any], type[Event] | None]] = {
    f"{service.name}.{step.name}" + (f"({event.__name__})" if event else ""): (
        service.name,
        step,
        event,
    )
    for service in SERVICES.values()
    for step, event in _steps(service)
    if not step.reads
}


def case_of(name: str) -> Case:
    """How a step is run; KeyError where nobody has said so yet."""
    return CASES[name.partition("(")[0]]


def _cancels(confirmed: bool) -> Case:
    def prepare(store: Store) -> m.CancelOrder:
        order_id = s.confirmed(store) if confirmed else s.unconfirmed(store)
        return m.CancelOrder(order_id=order_id, code=Code.ORDER_CANCELLED, reason="a reason")

    return prepare


def _gives_back(step: str, command: Any) -> Case:
    def prepare(store: Store) -> int:
        assert store.run(WRITING[step][1], command).success
        return ORDER

    return prepare


def _told_before(event: m.Event, step: str) -> Case:
    def prepare(store: Store) -> int:
        store.run(WRITING[step][1], event)
        return ORDER

    return prepare


def _late_and_not_there(store: Store) -> m.FindOrder:
    late = store.settings.unconfirmed_deadline + 1
    store.wait_by_the_wall(-late)
    order_id = s.opened(store).data.order_id
    store.wait_by_the_wall(late)
    return m.FindOrder(order_id=order_id)


def _due_check(store: Store) -> p.DueQuery:
    store.wait_by_the_wall(-store.settings.check_first)  # a runner's own clock says that it is due
    paying.opened(store)
    store.wait_by_the_wall(store.settings.check_first)
    return p.DueQuery(limit=10)


def _due_refund(store: Store) -> p.DueQuery:
    paying.refunding(store)
    return p.DueQuery(limit=10)


def _check_in_trouble(store: Store) -> p.AttemptFailure:
    pay_id = paying.opened(store)
    lease_until = store.row("trade_pay", pay_id=pay_id)["next_check"]
    return p.AttemptFailure(id=pay_id, lease_until=lease_until, error="away")


def _refund_in_trouble(store: Store) -> p.AttemptFailure:
    refund = paying.refunding(store)
    return p.AttemptFailure(id=refund["refund_id"], lease_until=refund["next_try"], error="away")


def _given_up_by_hand(store: Store) -> StuckItem:
    thing = StuckItem(number=paying.refunding(store)["refund_id"])
    store.run(SERVICES["pay"].manual_steps["give_up"], thing)
    return thing


def _stops_a_paid_one(store: Store) -> int:
    paying.paid(store, ORDER)
    return ORDER


def _order_whose_payment_went_back(store: Store) -> int:
    order_id = s.confirmed(store)
    s.cancel(store, order_id, "by_user")
    return order_id


_STOCK = m.DeductStock(order_id=ORDER, goods_id=1, goods_number=3)
_COUPON = m.UseCoupon(order_id=ORDER, coupon_id=1, user_id=1, coupon_price=COUPON)
_MONEY = m.DeductBalance(order_id=ORDER, user_id=1, money_paid=100_00)
_PAID = m.OrderPaid(order_id=ORDER, user_id=1, pay_id=PAYMENT, pay_amount=12_00)

#: step → what brings the store into a state where it applies, and gives its command; for a
#: handler, the order id of its event.
CASES: dict[str, Case] = {
    "order.open_order": lambda _: m.OpenOrder(user_id=1, idempotency_key="k", request_hash="h"),
    "order.save_pre_order": lambda store: s.pre_order(s.opened(store).data.order_id),
    "order.confirm_pre_order": lambda store: m.ConfirmPreOrder(
        order_id=s.unconfirmed(store, pay_amount=0), user_id=1, pay_amount=0
    ),
    "order.refuse_order": lambda store: m.RefuseOrder(
        order_id=s.opened(store).data.order_id, code=Code.STOCK_SHORT, message="a reason"
    ),
    "order.rule_out": _late_and_not_there,
    "order.cancel_failed": _cancels(confirmed=False),
    "order.cancel_expired": _cancels(confirmed=False),
    "order.cancel_unpaid": _cancels(confirmed=True),
    "order.cancel_by_user": lambda store: m.UserOrder(order_id=s.confirmed(store), user_id=1),
    "order.return_order": lambda store: m.UserOrder(
        order_id=s.confirmed(store, pay_amount=0), user_id=1
    ),
    "order.record_cancelled": s.unconfirmed,
    "order.record_paid": s.confirmed,
    "order.record_refunded": _order_whose_payment_went_back,
    "goods.deduct_stock": lambda _: _STOCK,
    "goods.return_stock": _gives_back("goods.deduct_stock", _STOCK),
    "coupon.use_coupon": lambda _: _COUPON,
    "coupon.return_coupon": _gives_back("coupon.use_coupon", _COUPON),
    "user.deduct_balance": lambda _: _MONEY,
    "user.return_balance": _gives_back("user.deduct_balance", _MONEY),
    "user.add_points": lambda _: ORDER,
    "user.take_points_back": _told_before(_PAID, "user.add_points(OrderPaid)"),
    "pay.open_payment": lambda _: p.OpenPayment(order_id=ORDER, user_id=1, pay_amount=12_00),
    "pay.note_trade": lambda store: p.TradeFound(
        pay_id=paying.opened(store), trade_no=paying.TRADE, trade_status=TradeStatus.WAIT_BUYER_PAY
    ),
    "pay.take_payment": lambda store: paying.seen(paying.opened(store)),
    "pay.finish_refund": lambda store: paying.answered(paying.refunding(store)),
    "pay.claim_check": _due_check,
    "pay.claim_refund": _due_refund,
    "pay.note_check_trouble": _check_in_trouble,
    "pay.note_refund_trouble": _refund_in_trouble,
    "pay.give_up_payment": lambda store: StuckItem(number=paying.opened(store)),
    "pay.take_back_payment": _given_up_by_hand,
    "pay.stop_payment": _stops_a_paid_one,
    "log.log_payment": lambda _: ORDER,
    "log.log_refund": _told_before(_PAID, "log.log_payment(OrderPaid)"),
}
#: What an event says beside its order.
_FURTHER: dict[type[Event], dict[str, int]] = {
    m.OrderPaid: {"user_id": 1, "pay_id": PAYMENT, "pay_amount": 12_00},
    m.OrderRefunded: {"user_id": 1, "pay_id": PAYMENT, "refund_id": 3003, "amount": 12_00},
}


def command_of(name: str, store: Store) -> Any:
    """Prepare the store and make the command, or the event, of a step."""
    made = case_of(name)(store)
    event = WRITING[name][2]
    if event is None:
        return made
    return event(order_id=made, **_FURTHER.get(event, {}))
