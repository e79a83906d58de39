"""Operations: the idempotency key of every step, and what makes compensation safe.

One row per (order, operation) stands in the same local transaction as the business change, with
its outcome and the amount that was really taken. That one row answers four hazards: a step that is
run twice, a compensation that comes before its step (empty compensation), a step that comes after
its compensation (hanging try), and a compensation that runs twice. Seata calls the
same row the *TCC fence*; Helland's "Life beyond Distributed Transactions" (2007) the *activity*.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

from sqlalchemy import delete, select, update

from labkit.results import Message, Result, ResultCode
from labkit.runtime.codes import RuntimeCode
from labkit.runtime.db.statements import statement
from labkit.runtime.db.tables import operation as table
from labkit.runtime.db.transaction import Transaction

APPLIED, REFUSED, BLOCKED, UNDONE = "applied", "refused", "blocked", "undone"


@statement
def _find(order_id: int, operation: str) -> Any:
    return _row(order_id, operation)


@statement
def _find_and_keep(order_id: int, operation: str) -> Any:
    return _row(order_id, operation).with_for_update(read=True)


def _row(order_id: int, operation: str) -> Any:
    columns = (table.c.outcome, table.c.amount, table.c.body_hash, table.c.result)
    return select(*columns).where(_key(order_id, operation))


@statement
def _end(order_id: int, operation: str, outcome: str, amount: int, result: str) -> Any:
    ended = {"outcome": outcome, "amount": amount, "result": result}
    return update(table).where(_key(order_id, operation)).values(ended)


@statement
def _forget(order_id: int, operation: str) -> Any:
    return delete(table).where(_key(order_id, operation))


@statement
def _undo(order_id: int, operation: str) -> Any:
    applied = _key(order_id, operation) & (table.c.outcome == APPLIED)
    return update(table).where(applied).values(outcome=UNDONE)


def _key(order_id: int, operation: str) -> Any:
    return (table.c.order_id == order_id) & (table.c.operation == operation)


class Command(Protocol):
    """What a step is asked to do: a message about one order."""

    @property
    def order_id(self) -> int:
        """The order, or the payment or refund where the step is about that."""

    def model_dump_json(self) -> str:
        """The command as JSON, from which its hash is made."""


def body_hash(command: Command) -> str:
    """What two commands have in common if and only if they ask for the same."""
    return hashlib.sha256(command.model_dump_json().encode()).hexdigest()


class Operation:
    """One claimed operation. It ends with `apply`, `refuse` or `answer_with`, where it was claimed.

    Attributes:
        earlier: the answer that stands already, where the operation was claimed before.
    """

    def __init__(
        self, tx: Transaction, row: Mapping[str, Any], earlier: Result[Any] | None
    ) -> None:
        self._tx = tx
        self._row = row
        self.earlier = earlier

    def apply(self, amount: int = 0, data: Message | None = None) -> Result[Any]:
        """The change was made; `amount` (pieces, cents) is what was really taken."""
        return self._end(APPLIED, amount, Result[Any].ok(data))

    def refuse(self, code: ResultCode, message: str) -> Result[Any]:
        """A business rule refused; nothing but this row is written.

        A refusal that may pass (a wrong state, an absent dependency) is not kept, so that the
        same command may be tried again.
        """
        result = Result[Any].refused(code, message)
        if code.is_final:
            return self._end(REFUSED, 0, result)
        return self.answer_with(result)

    def answer_with(self, result: Result[Any]) -> Result[Any]:
        """Nothing was done, and nothing is kept: somebody else's answer, or one that may pass."""
        if self._tx.presumes:
            self._tx.insert(table, **self._row)  # which proves that it was not there before
        self._tx.run(_forget(**_key_of(self._row)))
        return result

    def _end(self, outcome: str, amount: int, result: Result[Any]) -> Result[Any]:
        text = result.model_dump_json()
        ended = {**_key_of(self._row), "outcome": outcome, "amount": amount, "result": text}
        if self._tx.presumes:
            self._tx.insert(table, **{**self._row, **ended})
        else:
            self._tx.run(_end(**ended))
        return result


def claim(tx: Transaction, name: str, command: Command, about: int | None = None) -> Operation:
    """Claim an operation before any change. First thing that a forward step does.

    Args:
        tx: the step's transaction.
        name: the operation; with the command's order id it is the key.
        command: what is asked for; asked again with another body it is refused.
        about: the payment, where the step is about one of an order's payments: the key then.

    Returns:
        The operation. Where its `earlier` is set there is nothing to do but answer with that.
    """
    row: dict[str, Any] = {
        "order_id": about or command.order_id,
        "operation": name,
        "outcome": APPLIED,
        "amount": 0,
        "body_hash": body_hash(command),
        "result": "",
        "add_time": tx.now,
    }
    # where a group presumes that, one insert at the operation's end is both claim and outcome
    fresh = tx.presumes or tx.insert_once(table, **row)
    return Operation(tx, row, None if fresh else _earlier(tx, row))


def undo(tx: Transaction, name: str, order_id: int) -> int | None:
    """Claim the compensation of an operation, once. First thing that a compensation does.

    Args:
        tx: the step's transaction.
        name: the operation.
        order_id: or the payment, where the operation is about that.

    Returns:
        The recorded amount to give back; None where nothing was taken, or all is back already.
        An operation that never came is now blocked and will be refused when it comes.
    """
    key: dict[str, Any] = {"order_id": order_id, "operation": name}
    blocked = {"outcome": BLOCKED, "amount": 0, "body_hash": "", "result": "", "add_time": tx.now}
    if not tx.one(_find(**key)) and tx.insert_once(table, **key, **blocked):
        return None
    if not tx.run(_undo(**key)).rowcount:
        return None
    amount: int = tx.run(_find(**key)).one().amount
    return amount


def outcome_of(tx: Transaction, name: str, order_id: int, *, wait: bool = False) -> str | None:
    """How an operation ended; None where nobody claimed it yet.

    Args:
        tx: the step's transaction.
        name: the operation.
        order_id: of the order.
        wait: for who claims it in this moment, so that the answer holds until the commit.
    """
    found = tx.one((_find_and_keep if wait else _find)(order_id, name))
    return found and str(found.outcome)


def _key_of(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"order_id": row["order_id"], "operation": row["operation"]}


def _earlier(tx: Transaction, row: Mapping[str, Any]) -> Result[Any]:
    found = tx.run(_find(**_key_of(row))).one()
    what = f"order {row['order_id']}: {row['operation']}"
    if found.outcome in (BLOCKED, UNDONE):
        return Result[Any].refused(
            RuntimeCode.ORDER_CANCELLED, f"{what} was compensated; it is not done again"
        )
    if found.body_hash != row["body_hash"]:
        return Result[Any].refused(
            RuntimeCode.IDEMPOTENCY_KEY_REUSED, f"{what} was asked for before with another content"
        )
    return Result[Any].model_validate_json(found.result)
