"""User service (用户服务): balance and points (积分)."""

from sqlalchemy import Executable, select, update

from labkit.results import Result
from labkit.runtime import Event, Row, Transaction, claim, lookup, statement, step, undo
from labkit.shop.codes import Code
from labkit.shop.messages import DeductBalance, FindUser, OrderPaid, OrderRefunded, UserFound
from labkit.shop.states import AccountLogType
from labkit.shop.tables import money_log, score_log, user

_CENTS_A_POINT = 100


@statement
def _deduct(user_id: int, cents: int) -> Executable:
    enough = (user.c.user_id == user_id) & (user.c.user_money >= cents)
    return update(user).where(enough).values(user_money=user.c.user_money - cents)


@statement
def _return(user_id: int, cents: int) -> Executable:
    more = user.c.user_money + cents
    return update(user).where(user.c.user_id == user_id).values(user_money=more)


@statement
def _deducted(order_id: int) -> Executable:
    deducted = (money_log.c.order_id == order_id) & (
        money_log.c.money_log_type == AccountLogType.PAID
    )
    return select(money_log.c.user_id).where(deducted)


@statement
def _add_points(user_id: int, points: int) -> Executable:
    more = user.c.user_score + points
    return update(user).where(user.c.user_id == user_id).values(user_score=more)


@statement
def _earned(order_id: int) -> Executable:
    earned = (score_log.c.order_id == order_id) & (
        score_log.c.score_log_type == AccountLogType.PAID
    )
    return select(score_log.c.user_id).where(earned)


@lookup(user.c.user_id)
def find_user(row: Row, query: FindUser) -> Result[UserFound]:
    """Look a user up; another order may spend the balance a moment later."""
    if row is None:
        text = f"user_id {query.user_id}: there is no such user"
        return Result[UserFound].refused(Code.USER_MISSING, text)
    return Result[UserFound].ok(
        UserFound(user_id=row.user_id, user_name=row.user_name, user_money=row.user_money)
    )


@step(failed=Code.BALANCE_DEDUCT_FAILED)
def deduct_balance(tx: Transaction, command: DeductBalance) -> Result[None]:
    """Deduct money from a user's balance for an order (扣减余额), once, and never below zero."""
    operation = claim(tx, "deduct_balance", command)
    if operation.previous_result:
        return operation.previous_result
    if not tx.expect_update(_deduct(command.user_id, command.money_paid)):
        text = f"user_id {command.user_id}: the balance is below {command.money_paid} cents"
        return operation.refuse(Code.MONEY_MORE_THAN_BALANCE, f"order {command.order_id}: {text}")
    _log_money(tx, command.user_id, command.order_id, AccountLogType.PAID, command.money_paid)
    return operation.apply(amount=command.money_paid)


@step()
def return_balance(tx: Transaction, event: Event) -> None:
    """Return the money to the balance that was really deducted for an order (回退余额)."""
    cents = undo(tx, "deduct_balance", event.order_id)
    if cents is None:
        return
    user_id = tx.run(_deducted(event.order_id)).single().user_id
    tx.expect_update(_return(user_id, cents))
    _log_money(tx, user_id, event.order_id, AccountLogType.REFUNDED, cents)


@step()
def add_points(tx: Transaction, event: OrderPaid) -> None:
    """Add an order's points (增加积分): one for each whole yuan that was paid."""
    operation = claim(tx, "add_points", event, subject_id=event.pay_id)
    if operation.previous_result:
        return
    points = event.pay_amount // _CENTS_A_POINT
    operation.apply(amount=points)
    if not points:
        return
    tx.expect_update(_add_points(event.user_id, points))
    _log_points(tx, event.user_id, event.order_id, AccountLogType.PAID, points)


@step()
def take_points_back(tx: Transaction, event: OrderRefunded) -> None:
    """Remove the points that a payment had really brought (回退积分)."""
    points = undo(tx, "add_points", event.pay_id)
    if not points:
        return
    user_id = tx.run(_earned(event.order_id)).single().user_id
    tx.expect_update(_add_points(user_id, -points))
    _log_points(tx, user_id, event.order_id, AccountLogType.REFUNDED, points)


def _log_money(
    tx: Transaction, user_id: int, order_id: int, reason: AccountLogType, cents: int
) -> None:
    row = {"user_id": user_id, "order_id": order_id, "money_log_type": reason}
    tx.insert(money_log, **row, use_money=cents, create_time=tx.now)


def _log_points(
    tx: Transaction, user_id: int, order_id: int, reason: AccountLogType, points: int
) -> None:
    row = {"user_id": user_id, "order_id": order_id, "score_log_type": reason}
    tx.insert(score_log, **row, use_score=points, create_time=tx.now)
