"""Solutions to the exercises of notebook 05. Try them yourself first."""

PAID = "pay.paid.before_send"


def react(order, event):
    """Do what an event asks for, once and rightly, whatever came before it."""
    if event == "refund answer":
        if order.get("refund"):
            order["money"] = 0
    elif event in ("cancel", "time-out"):
        if order["status"] == "unpaid":
            order["status"] = "cancelled"
            order["stock"] += 1
    elif not order.get("known"):  # the payment is a fact about the platform: always recorded
        order["known"] = True
        if order["status"] == "unpaid":
            order["status"] = "paid"
            order["points"] += 4880
        else:  # known, and not kept
            order["refund"] = True


def accepted_and_undone(lab):
    """Pay for an order, cancel it before the order service hears of that; return its id."""
    order_id = lab.order().order_id
    with lab.faults.armed(PAID, "refuse", times=1_000_000):
        lab.pay(order_id)
        lab.until(lambda: len(lab.stuck()) > 0)  # accepted, and `paid` cannot be sent
        lab.cancel(order_id)
    return order_id


def end_paid():
    """How many of the 120 orders of events end with the order paid.

    Four events move the order, three of them say paid, and the first of the four decides.
    """
    return 120 * 3 // 4
