"""Solutions to the exercises of notebook 08. Try them yourself first."""

import httpx


def remember(name, step):
    """A step that changes the shop once, however often it is done."""

    def once(shop):
        if name not in shop.setdefault("done", set()):
            step(shop)
            shop["done"].add(name)  # where the toy dies only after a step, this is one commit

    return once


def another_place():
    """The name of a failpoint: service.step.boundary.

    The order service has been answered by goods, goes on, and dies with the next step. It begins
    at the top again, and asks goods again.
    """
    return "order.use_coupon.before_call"


def killed_on_the_line(lab):
    """Place an order; the web dies when it is placed and not answered. Return the answer.

    The customer, whose line broke, asks again under the same key: it stands for the same order.
    """
    with lab.faults.armed("order-web.confirm_order.after_call", "crash"):
        while True:
            try:
                return lab.order(key="on the line")
            except httpx.TransportError:
                continue
