"""Solutions to the exercises of notebook 11. Try them yourself first."""


def fix_2():
    """The key is claimed, so what it says decides before anything is taken, not after."""
    return {
        "goods.deduct_stock": """
def deduct_stock(tx, command):
    operation = claim(tx, "deduct_stock", command)
    if operation.previous_result:
        return operation.previous_result
    if not tx.expect_update(_deduct(command.goods_id, command.goods_number)):
        text = f"goods_id {command.goods_id}: fewer than {command.goods_number} pieces are left"
        return operation.refuse(Code.STOCK_SHORT, f"order {command.order_id}: {text}")
    _log(tx, command.goods_id, command.order_id, LogDirection.DEDUCT, command.goods_number)
    return operation.apply(amount=command.goods_number)
"""
    }


def fix_3():
    """Whatever is unsent and due is claimed, whoever wrote it and died."""
    return {
        "messaging.outbox.claim_unsent": """
def claim_unsent(tx, _command):
    return _claim(tx, UNSENT)
"""
    }


def fix_4():
    """Sent is not settled: only the inboxes of all groups say that."""
    return {
        "messaging.relay.Relay._mark_sent": """
async def _mark_sent(self, message):
    try:
        await self._database.run(outbox.mark_sent, [message.event_id])
    except Exception:
        log.exception("event %d of %s is not marked", message.event_id, self._service)
"""
    }


def fix_5():
    """The condition belongs into the update: what was seen before may be sold by now."""
    return {
        "goods._deduct": """
def _deduct(goods_id, pieces):
    enough = (goods.c.goods_id == goods_id) & (goods.c.goods_number >= pieces)
    return update(goods).where(enough).values(goods_number=goods.c.goods_number - pieces)
"""
    }


def fix_6():
    """Money is whole cents, from the request to the row."""
    return {
        "users.deduct_balance": """
def deduct_balance(tx, command):
    operation = claim(tx, "deduct_balance", command)
    if operation.previous_result:
        return operation.previous_result
    if not tx.expect_update(_deduct(command.user_id, command.money_paid)):
        text = f"user_id {command.user_id}: the balance is below {command.money_paid} cents"
        return operation.refuse(Code.MONEY_MORE_THAN_BALANCE, f"order {command.order_id}: {text}")
    _log_money(tx, command.user_id, command.order_id, AccountLogType.PAID, command.money_paid)
    return operation.apply(amount=command.money_paid)
"""
    }


def fix_7():
    """A coupon that comes back is unused, and still somebody's."""
    return {
        "coupons._restore": """
def _restore(order_id):
    unused = {"is_used": 0, "order_id": None, "used_time": None}
    return update(coupon).where(coupon.c.order_id == order_id).values(unused)
"""
    }


def fix_8():
    """Only an unpaid order can be cancelled; a paid one is returned."""
    return {
        "order.statements.cancel": """
def cancel(order_id, old, reason):
    mine = (order.c.order_id == order_id) & (order.c.order_status == old)
    unpaid = mine & (order.c.pay_status == PayStatus.UNPAID)
    ended = {'order_status': OrderStatus.CANCELLED, 'cancel_reason': reason}
    return update(order).where(unpaid).values(ended)
"""
    }


def fix_9():
    """A payment that its order does not want is money of the customer: it goes back."""
    return {
        "pay.steps._accept_or_refund": """
def _accept_or_refund(tx, row):
    accept = AcceptPayment(order_id=row.order_id, pay_id=row.pay_id, pay_amount=row.pay_amount)
    operation = claim(tx, "accept_payment", accept)
    if operation.previous_result:
        return _open_refund(tx, row, "the order has ended, or is paid by another payment")
    operation.apply(amount=row.pay_amount)
    return tx.emit(OrderPaid(
        order_id=row.order_id, user_id=row.user_id, pay_id=row.pay_id, pay_amount=row.pay_amount
    ))
"""
    }


def fix_10():
    """What finds nothing to give back leaves `blocked`, so that the late step is refused."""
    return {
        "db.operations.undo": """
def undo(tx, name, order_id):
    key = {"order_id": order_id, "operation": name}
    blocked = {"outcome": BLOCKED, "amount": 0, "body_hash": "", "result": "", "add_time": tx.now}
    if not tx.first(_find(**key)) and tx.insert_once(table, **key, **blocked):
        return None
    if not tx.update_one(_undo(**key)):
        return None
    return tx.run(_find(**key)).single().amount
"""
    }
