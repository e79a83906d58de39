"""Who does what, as data: service → contract, methods, handlers. A notebook can print it."""

from labkit.runtime.inbox import DeadLetter
from labkit.runtime.wiring import Service
from labkit.shop import (
    coupons,
    finding,
    goods,
    orders,
    pay_by_hand,
    pay_care,
    pay_schedule,
    paying,
    paylog,
    payments,
    placing,
    users,
)
from labkit.shop.contracts import (
    CouponService,
    GoodsService,
    LogService,
    OrderService,
    PaymentPlatform,
    PayService,
    UserService,
)
from labkit.shop.messages import OrderCancelled, OrderPaid, OrderRefunded, OrderReturned

SERVICES = {
    service.name: service
    for service in (
        Service(
            name="order",
            contract=OrderService,
            methods={
                "open_order": orders.open_order,
                "confirm_order": placing.confirm_order,
                "find_order": finding.find_order,
                "cancel_by_user": orders.cancel_by_user,
                "return_order": orders.return_order,
            },
            handlers={
                OrderCancelled: orders.record_cancelled,
                OrderPaid: orders.record_paid,
                OrderRefunded: orders.record_refunded,
            },
            steps=(
                orders.save_pre_order,
                orders.confirm_pre_order,
                orders.refuse_order,
                orders.rule_out,
                orders.cancel_failed,
                orders.cancel_expired,
                orders.cancel_unpaid,
            ),
            sweeps=(placing.sweep_unconfirmed, placing.sweep_unpaid),
            calls={"goods": GoodsService, "coupons": CouponService, "users": UserService},
            emits=(OrderCancelled, OrderReturned, OrderPaid),
        ),
        Service(
            name="goods",
            contract=GoodsService,
            methods={"find_goods": goods.find_goods, "deduct_stock": goods.deduct_stock},
            handlers={OrderCancelled: goods.return_stock, OrderReturned: goods.return_stock},
        ),
        Service(
            name="coupon",
            contract=CouponService,
            methods={"find_coupon": coupons.find_coupon, "use_coupon": coupons.use_coupon},
            handlers={OrderCancelled: coupons.return_coupon, OrderReturned: coupons.return_coupon},
        ),
        Service(
            name="user",
            contract=UserService,
            methods={"find_user": users.find_user, "deduct_balance": users.deduct_balance},
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
            methods={
                "create_payment": paying.create_payment,
                "take_callback": paying.take_callback,
                "find_payment": payments.find_payment,
                "look_after_payment": pay_care.look_after_payment,
            },
            handlers={OrderCancelled: payments.stop_payment, OrderReturned: payments.stop_payment},
            steps=(
                payments.open_payment,
                payments.note_trade,
                payments.take_payment,
                payments.finish_refund,
                pay_schedule.claim_check,
                pay_schedule.claim_refund,
                pay_schedule.note_check_trouble,
                pay_schedule.note_refund_trouble,
            ),
            sweeps=(pay_care.check_payments, pay_care.send_refunds),
            by_hand={
                "give_up": pay_by_hand.give_up_payment,
                "take_back": pay_by_hand.take_back_payment,
            },
            calls={"orders": OrderService, "goods": GoodsService, "platform": PaymentPlatform},
            leaves=(
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
            methods={"find_pay_log": paylog.find_pay_log},
            handlers={OrderPaid: paylog.log_payment, OrderRefunded: paylog.log_refund},
        ),
        Service(name="order-web", calls={"orders": OrderService}),
        Service(name="pay-web", calls={"payments": PayService}, leaves=("look_after_payment",)),
    )
}

#: topic → the consumer groups that must have its events; a group bears its service's name.
GROUPS = {
    event.topic: tuple(one.name for one in SERVICES.values() if event in one.handlers)
    for event in (OrderCancelled, OrderReturned, OrderPaid, OrderRefunded, DeadLetter)
}

#: contract → the service that offers it.
NAMES = {one.contract: one.name for one in SERVICES.values() if one.contract}
