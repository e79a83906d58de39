"""Solutions to the exercises of notebook 02. Try them yourself first."""

CONFIRM = "order.confirm_pre_order.before_commit"
SEND = "order.order_cancel.before_send"
DEDUCTED = "goods.deduct_stock.after_commit"


def fail_with_two_messages(lab):
    """Place an order that fails at confirm and whose message is sent twice; return the answer."""
    with lab.faults.armed(CONFIRM, "refuse"), lab.faults.armed(SEND, "duplicate"):
        answer = lab.order(money_paid=100_00)
        lab.settle()
    return answer


def order_while_goods_dies(lab):
    """Place an order; goods dies after it committed the deduction. Return the answer.

    The call broke, so the order service did not know whether stock was taken. It asked the new
    process, under the same key, and that answered from its operation row.
    """
    with lab.faults.armed(DEDUCTED, "crash"):
        return lab.order()


def first_to_fail():
    """The name of a failpoint: service.step.boundary.

    The very first deduction is refused: its transaction is rolled back, so that not even its
    operation row stands, and neither coupon nor balance is ever asked.
    """
    return "goods.deduct_stock.before_commit"
