"""Who does what, as data: service → contract, methods, handlers. A notebook can print it."""

from labkit.runtime.inbox import DeadLetter
from labkit.runtime.wiring import Service
from labkit.shop import coupons, goods, lookups, orders, placing, users
from labkit.shop.contracts import CouponService, GoodsService, OrderService, UserService
from labkit.shop.messages import OrderCancelled, OrderPaid, OrderReturned

SERVICES = {
    service.name: service
    for service in (
        Service(
            name="order",
            contract=OrderService,
            methods={
                "open_order": orders.open_order,
                "confirm_order": placing.confirm_order,
                "find_order": lookups.find_order,
                "cancel_by_user": orders.cancel_by_user,
                "return_order": orders.return_order,
            },
            handlers={OrderCancelled: orders.record_cancelled},
            steps=(
                orders.save_pre_order,
                orders.confirm_pre_order,
                orders.refuse_order,
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
            },
        ),
        Service(name="order-web", calls={"orders": OrderService}),
    )
}

#: topic → the consumer groups that must have its events; a group bears its service's name.
GROUPS = {
    event.topic: tuple(one.name for one in SERVICES.values() if event in one.handlers)
    for event in (OrderCancelled, OrderReturned, OrderPaid, DeadLetter)
}

#: contract → the service that offers it.
NAMES = {one.contract: one.name for one in SERVICES.values() if one.contract}
