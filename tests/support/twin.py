"""The same story on the twin and on a real lab, and both ends in a form that can be compared."""

from collections.abc import Callable, Mapping
from typing import Any

from labkit.lab import Lab
from labkit.matrix.lab_front import LabFront, play
from labkit.ops.reader import DATABASES
from labkit.sim.life import Stage

#: Columns whose values differ from one run to the next, and mean nothing else.
_ALIASED = ("_id", "_no", "_time", "token", "hash", "body", "result", "answer", "key", "last_error")
_ALSO = (
    "next_try",
    "next_check",
    "time_expire",
    "tries",
    "trace",
    "cancel_reason",
    "notify_url",
    "subject",
)
#: Ids that are the same in every run.
_FIXED = ("user_id", "goods_id", "coupon_id")

#: table → its rows as they can be compared, in order.
Ending = dict[str, list[str]]
Rows = Callable[[str, str], list[Mapping[str, Any]]]


def tell(lab: Lab, story: str) -> None:
    """Have a customer of a real lab do what a story tells, until it ends."""
    assert play(LabFront(lab.client), [story]) == []


def ending_of_lab(lab: Lab) -> Ending:
    """Return the end of what happened in a lab."""
    rows: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for name in {table.name for tables in DATABASES.values() for table in tables}:
        for row in lab._reader.table(name):
            homes = [home for home, tables in DATABASES.items() if name in {t.name for t in tables}]
            rows.setdefault((row.get("service", homes[0]), name), []).append(row)
    return _ending(lambda service, table: rows.get((service, table), []))


def ending_of_stage(stage: Stage) -> Ending:
    """Return the end of a life, before it is forgotten."""
    return _ending(lambda service, table: [dict(row) for row in stage.checker.rows(service, table)])


def _ending(rows_of: Rows) -> Ending:
    """Write every row of every table without what differs from run to run, sorted."""
    ending: Ending = {}
    for service, tables in DATABASES.items():
        for table in tables:
            if rows := sorted(_plain(row) for row in rows_of(service, table.name)):
                ending[f"{service}.{table.name}"] = rows
    return ending


def _plain(row: Mapping[str, Any]) -> str:
    kept = {
        column: int(value) if isinstance(value, bool) else value
        for column, value in row.items()
        if column in _FIXED or not (column.endswith(_ALIASED) or column in (*_ALSO, "service"))
    }
    return repr(sorted((column, _known(column, value)) for column, value in kept.items()))


def _known(column: str, value: Any) -> Any:
    """Return a value; of a message's key only that there is one."""
    return bool(value) if column == "msg_key" else value
