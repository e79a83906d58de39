"""Bugs of taking stock, coupons and balance for an order."""

from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from course.bugs.bug import bug
from course.bugs.sessions import commit, read_apart
from labkit.results import Result
from labkit.runtime.db.operations import claim
from labkit.runtime.db.transaction import Transaction
from labkit.shop import coupons, goods, users
from labkit.shop.codes import Code
from labkit.shop.messages import DeductBalance, DeductStock
from labkit.shop.states import AccountLogType, LogDirection

key_looked_at_later = bug(
    "key-looked-at-later",
    "The step claims its key, so it is idempotent; what the claim says can be looked at later.",
    "accepted:goods.deduct_stock.after_commit",
    breaks="stock is conserved",
    mirrors=6,
)


@key_looked_at_later.replaces("labkit.shop.goods:deduct_stock")
def _(tx: Transaction, command: DeductStock) -> Any:
    operation = claim(tx, "deduct_stock", command)
    tx.expect_update(goods._deduct(command.goods_id, command.goods_number))
    if operation.previous_result:
        return operation.previous_result
    goods._log(tx, command.goods_id, command.order_id, LogDirection.DEDUCT, command.goods_number)
    return operation.apply(amount=command.goods_number)


no_operation_row = bug(
    "no-operation-row",
    "The log has a row for each order, which is record enough of what was done.",
    "accepted:user.deduct_balance.after_commit",
    breaks="money log matches operations",
    mirrors=4,
)


@no_operation_row.replaces("labkit.shop.users:deduct_balance")
def _(tx: Transaction, command: DeductBalance) -> Any:
    if not tx.expect_update(users._deduct(command.user_id, command.money_paid)):
        return Result[None].refused(
            Code.MONEY_MORE_THAN_BALANCE, f"order {command.order_id}: too little"
        )
    row = {"user_id": command.user_id, "order_id": command.order_id, "create_time": tx.now}
    log = users.money_log
    once = (log.c.user_id, log.c.order_id, log.c.money_log_type)
    tx.insert_once(
        log, once, **row, money_log_type=AccountLogType.PAID, use_money=command.money_paid
    )
    return Result[None].ok()


log_row_later = bug(
    "log-row-in-a-commit-of-its-own",
    "The balance is what counts and is saved first; its log is written right after.",
    "accepted:user.deduct_balance.before_commit",
    breaks="balance is conserved",
    mirrors=2,
)


@log_row_later.replaces("labkit.shop.users:deduct_balance")
def _(tx: Transaction, command: DeductBalance) -> Any:
    operation = claim(tx, "deduct_balance", command)
    if operation.previous_result:
        return operation.previous_result
    if not tx.expect_update(users._deduct(command.user_id, command.money_paid)):
        text = f"user_id {command.user_id}: the balance is below {command.money_paid} cents"
        return operation.refuse(Code.MONEY_MORE_THAN_BALANCE, f"order {command.order_id}: {text}")
    answer = operation.apply(amount=command.money_paid)
    commit(tx)
    users._log_money(tx, command.user_id, command.order_id, AccountLogType.PAID, command.money_paid)
    return answer


whole_yuan = bug(
    "balance-in-whole-yuan",
    "Balances are whole yuan, as everybody shows them.",
    "some-cents",
    breaks="confirmed orders are covered",
    mirrors=10,
)


@whole_yuan.replaces("labkit.shop.users:deduct_balance")
def _(tx: Transaction, command: DeductBalance) -> Any:
    operation = claim(tx, "deduct_balance", command)
    if operation.previous_result:
        return operation.previous_result
    cents = command.money_paid // 100 * 100
    if not tx.expect_update(users._deduct(command.user_id, cents)):
        text = f"user_id {command.user_id}: the balance is below {command.money_paid} cents"
        return operation.refuse(Code.MONEY_MORE_THAN_BALANCE, f"order {command.order_id}: {text}")
    users._log_money(tx, command.user_id, command.order_id, AccountLogType.PAID, cents)
    return operation.apply(amount=cents)


stock_checked_before = bug(
    "stock-checked-before",
    "That enough is left was checked when the order came in.",
    "last-pieces",
    breaks="stock is conserved",
    mirrors=7,
)


@stock_checked_before.replaces("labkit.shop.goods:_deduct")
def _(goods_id: int, pieces: int) -> Any:
    table = goods.goods
    less = table.c.goods_number - pieces
    return update(table).where(table.c.goods_id == goods_id).values(goods_number=less)


coupon_checked_before = bug(
    "coupon-checked-before",
    "That the coupon is unused was checked when the order came in.",
    "one-coupon",
    breaks="one order a coupon",
    mirrors=7,
)


@coupon_checked_before.replaces("labkit.shop.coupons:_use")
def _(coupon_id: int, user_id: int, price: int, order_id: int, now: datetime) -> Any:
    table = coupons.coupon
    mine = (
        (table.c.coupon_id == coupon_id)
        & (table.c.user_id == user_id)
        & (table.c.coupon_price == price)
    )
    return update(table).where(mine).values(is_used=1, order_id=order_id, used_time=now)


balance_checked_before = bug(
    "balance-checked-before",
    "That the user has so much was checked when the order came in.",
    "one-balance",
    breaks="balance is conserved",
    mirrors=7,
)


@balance_checked_before.replaces("labkit.shop.users:_deduct")
def _(user_id: int, cents: int) -> Any:
    table = users.user
    less = table.c.user_money - cents
    return update(table).where(table.c.user_id == user_id).values(user_money=less)


stock_written_back = bug(
    "stock-written-back",
    "Read the goods, subtract, and save them.",
    "rush",
    breaks="stock is conserved",
    mirrors=7,
)


@stock_written_back.replaces("labkit.shop.goods:deduct_stock")
def _(tx: Transaction, command: DeductStock) -> Any:
    operation = claim(tx, "deduct_stock", command)
    if operation.previous_result:
        return operation.previous_result
    table = goods.goods
    mine = table.c.goods_id == command.goods_id
    row = read_apart(tx, select(table).where(mine))
    if row.goods_number < command.goods_number:
        text = f"goods_id {command.goods_id}: fewer than {command.goods_number} pieces are left"
        return operation.refuse(Code.STOCK_SHORT, f"order {command.order_id}: {text}")
    remaining = row.goods_number - command.goods_number
    tx.execute(update(table).where(mine).values(goods_number=remaining))
    goods._log(tx, command.goods_id, command.order_id, LogDirection.DEDUCT, command.goods_number)
    return operation.apply(amount=command.goods_number)


balance_written_back = bug(
    "balance-written-back",
    "Read the user, subtract, and save it.",
    "rush",
    breaks="balance is conserved",
    mirrors=7,
)


@balance_written_back.replaces("labkit.shop.users:deduct_balance")
def _(tx: Transaction, command: DeductBalance) -> Any:
    operation = claim(tx, "deduct_balance", command)
    if operation.previous_result:
        return operation.previous_result
    table = users.user
    mine = table.c.user_id == command.user_id
    row = read_apart(tx, select(table).where(mine))
    if row.user_money < command.money_paid:
        text = f"user_id {command.user_id}: the balance is below {command.money_paid} cents"
        return operation.refuse(Code.MONEY_MORE_THAN_BALANCE, f"order {command.order_id}: {text}")
    remaining = row.user_money - command.money_paid
    tx.execute(update(table).where(mine).values(user_money=remaining))
    users._log_money(tx, command.user_id, command.order_id, AccountLogType.PAID, command.money_paid)
    return operation.apply(amount=command.money_paid)
