"""The wiring of the services, as data: service → contract, handlers, steps, calls.

A notebook can print it, and every failpoint follows from it.
"""

from labkit.runtime import DeadLetter, Deadline, Service
from labkit.shop import coupons, goods, log, users
from labkit.shop.contracts import (
    CouponService,
    GoodsService,
    LogService,
    PaymentPlatform,
    UserService,
)
from labkit.shop.messages import OrderCancelled, OrderPaid, OrderRefunded, OrderReturned
from labkit.shop.order import flows, steps
from labkit.shop.order.context import OrderShop
from labkit.shop.order.contract import OrderService
from labkit.shop.pay import manual, polling, retries
from labkit.shop.pay import steps as payments
from labkit.shop.pay.context import PayShop
from labkit.shop.pay.contract import PayService
from labkit.shop.states import RefundState
from labkit.shop.tables import pay, refund

SERVICES = {
    service.name: service
    for service in (
        Service(
            name="order",
            contract=OrderService,
            shop=OrderShop,
            handlers={
                OrderCancelled: steps.record_cancelled,
                OrderPaid: steps.record_paid,
                OrderRefunded: steps.record_refunded,
            },
            steps=(
                steps.save_pre_order,
                steps.confirm_pre_order,
                steps.refuse_order,
                steps.rule_out,
                steps.cancel_failed,
                steps.cancel_expired,
                steps.cancel_unpaid,
            ),
            sweeps=(flows.sweep_unconfirmed, flows.sweep_unpaid),
            calls={"goods": GoodsService, "coupons": CouponService, "users": UserService},
            emits=(OrderCancelled, OrderReturned, OrderPaid),
        ),
        Service(
            name="goods",
            contract=GoodsService,
            handlers={OrderCancelled: goods.return_stock, OrderReturned: goods.return_stock},
        ),
        Service(
            name="coupon",
            contract=CouponService,
            handlers={OrderCancelled: coupons.return_coupon, OrderReturned: coupons.return_coupon},
        ),
        Service(
            name="user",
            contract=UserService,
            handlers={
                OrderCancelled: users.return_balance,
                OrderReturned: users.return_balance,
                OrderPaid: users.add_points,
                OrderRefunded: users.take_points_back,
            },
        ),
        Service(
            name="pay",
            contract=PayService,
            shop=PayShop,
            handlers={OrderCancelled: payments.stop_payment, OrderReturned: payments.stop_payment},
            steps=(
                payments.open_payment,
                payments.note_trade,
                payments.take_payment,
                payments.finish_refund,
                retries.claim_check,
                retries.claim_refund,
                retries.note_check_trouble,
                retries.note_refund_trouble,
            ),
            sweeps=(polling.check_payments, polling.send_refunds),
            manual_steps={
                "give_up": manual.give_up_payment,
                "take_back": manual.take_back_payment,
            },
            deadlines=(
                Deadline(pay.c.next_check, pay.c.next_check.is_not(None)),
                Deadline(refund.c.next_try, refund.c.state == RefundState.OPEN),
            ),
            calls={"orders": OrderService, "goods": GoodsService, "platform": PaymentPlatform},
            unused_calls=(
                "open_order",
                "confirm_order",
                "cancel_by_user",
                "return_order",
                "deduct_stock",
            ),
            emits=(OrderPaid, OrderRefunded),
        ),
        Service(
            name="log",
            contract=LogService,
            handlers={OrderPaid: log.log_payment, OrderRefunded: log.log_refund},
        ),
        Service(name="order-web", calls={"orders": OrderService}),
        Service(
            name="pay-web", calls={"payments": PayService}, unused_calls=("look_after_payment",)
        ),
    )
}

#: Topic → the consumer groups that must have its events; a group is named like its service.
GROUPS = {
    event.topic: tuple(service.name for service in SERVICES.values() if event in service.handlers)
    for event in (OrderCancelled, OrderReturned, OrderPaid, OrderRefunded, DeadLetter)
}

#: Topic → the services that send to it.
SENDERS = {
    topic: tuple(service.name for service in SERVICES.values() if topic in service.topics())
    for topic in GROUPS
}

#: Contract → the service that offers it.
NAMES = {service.contract: service.name for service in SERVICES.values() if service.contract}
