"""Bugs of answers: what a client was told is not what is written down."""

from course.bugs.bug import bug
from labkit.results import Result
from labkit.runtime.db.transaction import Transaction
from labkit.shop.codes import Code
from labkit.shop.messages import OrderPlaced, RefuseOrder
from labkit.shop.order import statements as rows
from labkit.shop.order import steps
from labkit.shop.order.context import OrderShop

refused_and_forgotten = bug(
    "refused-and-forgotten",
    "A refused order has changed nothing, so there is nothing to write.",
    "refused-for-good",
    breaks="a final no stays no",
)


@refused_and_forgotten.replaces("labkit.shop.order.steps:refuse_order")
def _(tx: Transaction, command: RefuseOrder) -> Result[OrderPlaced]:
    if rows.exists(tx, command.order_id):
        return rows.kept_answer(tx, command.order_id)
    return Result[OrderPlaced].refused(Code(command.code), command.message)


unsaved_and_forgotten = bug(
    "unsaved-and-forgotten",
    "What could not be saved is not there, and whoever asks again begins anew.",
    "unsaved",
    breaks="a final no stays no",
)


@unsaved_and_forgotten.replaces("labkit.shop.order.flows:_refuse")
async def _(shop: OrderShop, order_id: int, why: Result[object]) -> Result[OrderPlaced]:
    if why.code == Code.ORDER_SAVE_FAILED:
        return Result[OrderPlaced].forward(why)
    refusal = RefuseOrder(order_id=order_id, code=why.code, message=why.message)
    return await shop.run(steps.refuse_order, refusal)
