"""Solutions to the exercises of notebook 12. Try them yourself first."""


def lost_message():
    """The relay hears from the groups that they lack the message, and sends it again."""
    return "sim1/paid/1/0/broker.paid#1=lose"


def give_back():
    """`undo` decides how much, once, and leaves a mark where nothing was taken yet."""
    return """
def return_balance(tx, event):
    cents = undo(tx, "deduct_balance", event.order_id)
    if cents is None:
        return
    user_id = tx.run(_deducted(event.order_id)).single().user_id
    tx.expect_update(_return(user_id, cents))
    _log_money(tx, user_id, event.order_id, AccountLogType.REFUNDED, cents)
"""
