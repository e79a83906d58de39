"""The calls that the order service (订单服务) answers: to the order web, and to the pay service."""

from labkit.runtime import ServedBy
from labkit.shop.order import finding, flows, steps


class OrderService:
    """订单服务."""

    open_order = ServedBy(steps.open_order)
    confirm_order = ServedBy(flows.confirm_order)
    find_order = ServedBy(finding.find_order)
    cancel_by_user = ServedBy(steps.cancel_by_user)
    return_order = ServedBy(steps.return_order)
