"""The calls that the pay service (支付服务) answers: to the pay web, and to whoever reconciles."""

from labkit.runtime import ServedBy
from labkit.shop.pay import flows, polling, steps


class PayService:
    """支付服务."""

    create_payment = ServedBy(flows.create_payment)
    take_callback = ServedBy(flows.take_callback)
    find_payment = ServedBy(steps.find_payment)
    look_after_payment = ServedBy(polling.look_after_payment)
