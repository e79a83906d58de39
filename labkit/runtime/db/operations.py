"""Operations: the idempotency key of every step, and what makes compensation safe.

One row per (order, operation) stands in the same local transaction as the business change, with
its outcome and the amount that was really taken. That one row answers four hazards: a step that is
run twice, a compensation that comes before its step (empty compensation), a step that comes after
its compensation (hanging try), and a compensation that runs twice. Seata calls the
same row the *TCC fence*; Helland's "Life beyond Distributed Transactions" (2007) the *activity*.
"""

from typing import Any, Generic, Protocol, TypeVar, overload

from sqlalchemy import ColumnElement, Executable, Select, delete, select, update

from labkit.results import Result, ResultCode
from labkit.runtime.codes import RuntimeCode
from labkit.runtime.db.compiled import Values
from labkit.runtime.db.statements import statement
from labkit.runtime.db.tables import operation as table
from labkit.runtime.db.transaction import Transaction

A = TypeVar("A")
R = TypeVar("R")

APPLIED, REFUSED, BLOCKED, UNDONE = "applied", "refused", "blocked", "undone"


@statement
def _find(order_id: int, operation: str) -> Executable:
    return _row(order_id, operation)


@statement
def _find_and_keep(order_id: int, operation: str) -> Executable:
    return _row(order_id, operation).with_for_update(read=True)


def _row(order_id: int, operation: str) -> Select[tuple[object, ...]]:
    columns = (table.c.outcome, table.c.amount, table.c.body_hash, table.c.result)
    return select(*columns).where(_key(order_id, operation))


@statement
def _end(order_id: int, operation: str, outcome: str, amount: int, result: str) -> Executable:
    ended = {"outcome": outcome, "amount": amount, "result": result}
    return update(table).where(_key(order_id, operation)).values(ended)


@statement
def _forget(order_id: int, operation: str) -> Executable:
    return delete(table).where(_key(order_id, operation))


@statement
def _undo(order_id: int, operation: str) -> Executable:
    applied = _key(order_id, operation) & (table.c.outcome == APPLIED)
    return update(table).where(applied).values(outcome=UNDONE)


def _key(order_id: int, operation: str) -> ColumnElement[bool]:
    return (table.c.order_id == order_id) & (table.c.operation == operation)


class Command(Protocol):
    """A message that asks a step to do something about one order."""

    @property
    def order_id(self) -> int:
        """Return the order's id, or the payment's or refund's if the step is about that."""

    def digest(self) -> str:
        """Return a hash; two have the same if they ask for the same, in the same version."""


class Operation(Generic[A]):
    """One operation that was asked for. If it is new, `apply`, `refuse` or `release` ends it.

    Attributes:
        previous_result: the answer that stands already, if the operation was claimed before.
    """

    def __init__(
        self,
        tx: Transaction,
        row: Values,
        answer: type[Result[A]],
        previous_result: Result[A] | None,
    ) -> None:
        self._tx = tx
        self._row = row
        self._answer = answer
        self.previous_result = previous_result

    def apply(self, amount: int = 0, data: A | None = None) -> Result[A]:
        """Record that the change was made.

        Args:
            amount: the pieces or cents that were really taken.
            data: the data of the answer.
        """
        return self._end(APPLIED, amount, self._answer.ok(data))

    def refuse(self, code: ResultCode, message: str) -> Result[A]:
        """Record that a business rule refused; nothing but this row is written.

        A refusal that may pass (a wrong state, an absent dependency) is not kept, so that the
        same command may be tried again.
        """
        result = self._answer.refused(code, message)
        if code.is_final:
            return self._end(REFUSED, 0, result)
        return self.release(result)

    def release(self, result: R) -> R:
        """Release the claim, because nothing was done, and answer with this result.

        For another's answer, or one that may pass: nothing of the operation is kept.
        """
        if self._tx.is_deferring:
            self._tx.insert(table, **self._row)  # which proves that it was not there before
        self._tx.run(_forget(**_key_of(self._row)))
        return result

    def _end(self, outcome: str, amount: int, result: Result[A]) -> Result[A]:
        text = result.model_dump_json()
        ended = {**_key_of(self._row), "outcome": outcome, "amount": amount, "result": text}
        if self._tx.is_deferring:
            self._tx.insert(table, **{**self._row, **ended})
        else:
            self._tx.run(_end(**ended))
        return result


@overload
def claim(
    tx: Transaction, name: str, command: Command, *, subject_id: int | None = None
) -> Operation[None]: ...


@overload
def claim(
    tx: Transaction,
    name: str,
    command: Command,
    *,
    answer: type[Result[A]],
    subject_id: int | None = None,
) -> Operation[A]: ...


def claim(
    tx: Transaction,
    name: str,
    command: Command,
    *,
    answer: Any = Result[None],
    subject_id: int | None = None,
) -> Operation[Any]:
    """Claim an operation before any change. A forward step does this first.

    Args:
        tx: the step's transaction.
        name: the operation; with the command's order id it is the key.
        command: what is asked for; if it is asked again with another body, it is refused.
        answer: the type of the step's answer, if it hands data over.
        subject_id: the payment's id, if the step is about one of an order's payments: the key then.

    Returns:
        The operation. If it has a `previous_result`, the step answers with that and does nothing.
    """
    row: dict[str, object] = {
        "order_id": subject_id or command.order_id,
        "operation": name,
        "outcome": APPLIED,
        "amount": 0,
        "body_hash": command.digest(),
        "result": "",
        "add_time": tx.now,
    }
    # In a group that defers its writes one insert, at the operation's end, is claim and outcome.
    is_new = tx.is_deferring or tx.insert_once(table, **row)
    return Operation(tx, row, answer, None if is_new else _previous_result(tx, row, answer))


def undo(tx: Transaction, name: str, order_id: int) -> int | None:
    """Claim the compensation of an operation, once. A compensation does this first.

    Args:
        tx: the step's transaction.
        name: the operation.
        order_id: the order's id, or the payment's if the operation is about that.

    Returns:
        The recorded amount to give back; None if nothing was taken, or all is back already.
        An operation that never came is blocked from now on and will be refused when it comes.
    """
    key: dict[str, Any] = {"order_id": order_id, "operation": name}
    blocked = {"outcome": BLOCKED, "amount": 0, "body_hash": "", "result": "", "add_time": tx.now}
    if not tx.first(_find(**key)) and tx.insert_once(table, **key, **blocked):
        return None
    if not tx.update_one(_undo(**key)):
        return None
    amount: int = tx.run(_find(**key)).single().amount
    return amount


def outcome_of(tx: Transaction, name: str, order_id: int, *, wait: bool = False) -> str | None:
    """Return how an operation ended; None if nobody claimed it yet.

    Args:
        tx: the step's transaction.
        name: the operation.
        order_id: the order's id.
        wait: wait for whoever claims it in this moment, so that the answer holds until the commit.
    """
    row = tx.first((_find_and_keep if wait else _find)(order_id, name))
    return row and str(row.outcome)


def _key_of(row: Values) -> dict[str, Any]:
    return {"order_id": row["order_id"], "operation": row["operation"]}


def _previous_result(tx: Transaction, row: Values, answer: type[Result[A]]) -> Result[A]:
    previous = tx.run(_find(**_key_of(row))).single()
    what = f"order {row['order_id']}: {row['operation']}"
    if previous.outcome in (BLOCKED, UNDONE):
        return answer.refused(
            RuntimeCode.ORDER_CANCELLED, f"{what} was compensated; it is not done again"
        )
    if previous.body_hash != row["body_hash"]:
        text = f"{what} was asked for before with another content"
        return answer.refused(RuntimeCode.IDEMPOTENCY_KEY_REUSED, text)
    return answer.model_validate_json(previous.result)
