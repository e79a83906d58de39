"""Goods service (商品服务): stock."""

from sqlalchemy import Executable, select, update

from labkit.results import Result
from labkit.runtime import Event, Row, Transaction, claim, lookup, statement, step, undo
from labkit.shop.codes import Code
from labkit.shop.messages import DeductStock, FindGoods, GoodsFound
from labkit.shop.states import LogDirection
from labkit.shop.tables import goods, number_log


@statement
def _deduct(goods_id: int, pieces: int) -> Executable:
    enough = (goods.c.goods_id == goods_id) & (goods.c.goods_number >= pieces)
    return update(goods).where(enough).values(goods_number=goods.c.goods_number - pieces)


@statement
def _return(goods_id: int, pieces: int) -> Executable:
    more = goods.c.goods_number + pieces
    return update(goods).where(goods.c.goods_id == goods_id).values(goods_number=more)


@statement
def _deducted(order_id: int) -> Executable:
    deducted = (number_log.c.order_id == order_id) & (number_log.c.direction == LogDirection.DEDUCT)
    return select(number_log.c.goods_id).where(deducted)


@lookup(goods.c.goods_id)
def find_goods(row: Row, query: FindGoods) -> Result[GoodsFound]:
    """Look goods up; they may be sold a moment later."""
    if row is None:
        text = f"goods_id {query.goods_id}: there are no such goods"
        return Result[GoodsFound].refused(Code.GOODS_MISSING, text)
    return Result[GoodsFound].ok(
        GoodsFound(
            goods_id=row.goods_id,
            goods_name=row.goods_name,
            goods_number=row.goods_number,
            goods_price=row.goods_price,
        )
    )


@step(failed=Code.STOCK_DEDUCT_FAILED)
def deduct_stock(tx: Transaction, command: DeductStock) -> Result[None]:
    """Deduct an order's pieces from the stock (减库存), once, and never below zero."""
    operation = claim(tx, "deduct_stock", command)
    if operation.previous_result:
        return operation.previous_result
    if not tx.expect_update(_deduct(command.goods_id, command.goods_number)):
        text = f"goods_id {command.goods_id}: fewer than {command.goods_number} pieces are left"
        return operation.refuse(Code.STOCK_SHORT, f"order {command.order_id}: {text}")
    _log(tx, command.goods_id, command.order_id, LogDirection.DEDUCT, command.goods_number)
    return operation.apply(amount=command.goods_number)


@step()
def return_stock(tx: Transaction, event: Event) -> None:
    """Return the pieces to the stock that were really deducted for an order (回退库存)."""
    pieces = undo(tx, "deduct_stock", event.order_id)
    if pieces is None:
        return
    goods_id = tx.run(_deducted(event.order_id)).single().goods_id
    tx.expect_update(_return(goods_id, pieces))
    _log(tx, goods_id, event.order_id, LogDirection.RETURN, pieces)


def _log(
    tx: Transaction, goods_id: int, order_id: int, direction: LogDirection, pieces: int
) -> None:
    row = {"goods_id": goods_id, "order_id": order_id, "direction": direction}
    tx.insert(number_log, **row, goods_number=pieces, log_time=tx.now)
