"""The end of a story: every row of every table, in a form that can be compared between two runs.

Ids, times and secrets differ from run to run. An id is replaced by what it is the id of, so that it
is seen what belongs to what; of a time, a hash or a secret only that there is one is kept; of an
answer what it says, without its words.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from labkit.lab import Lab
from labkit.ops.reader import DATABASES, HOMES_OF
from labkit.sim.life import Stage

#: table → its rows as they can be compared, sorted.
Ending = dict[str, list[str]]
Row = Mapping[str, Any]
#: Returns the rows of a table in a database.
Rows = Callable[[str, str], Iterable[Row]]

#: What has ids, where each of them stands, and what it is called.
_IDS = (
    ("order", "trade_order_request", "order_id", "order"),
    ("pay", "trade_pay", "pay_id", "payment"),
    ("pay", "trade_refund", "refund_id", "refund"),
    ("platform", "platform_trade", "trade_no", "trade"),
    ("platform", "platform_notice", "notify_id", "notice"),
)
_OUTBOX, _INBOX = "trade_mq_producer", "trade_mq_consumer_log"
_ID = re.compile(r"(?<!\d)\d{15,19}(?!\d)")
#: The number that a customer of the matrix gives an address.
_NUMBER = re.compile(r"#\d+")
#: Columns of which only that there is something is kept.
_PRESENCE = re.compile(
    r".*_time|.*_key|.*hash|token|notify_url|time_expire|cancel_reason|next_check"
)
#: Columns of which nothing is kept: how often, when and why it was tried again.
_LEFT_OUT = ("tries", "next_try", "last_error", "trace", "service")
_ANSWERS = ("answer", "result")
#: Ids that are the same in every run.
_FIXED = ("user_id", "goods_id", "coupon_id")


def ending_of_lab(lab: Lab) -> Ending:
    """Return the end of what happened in a lab."""
    rows: dict[tuple[str, str], list[Row]] = {}
    for name, homes in HOMES_OF.items():
        for row in lab._reader.table(name):
            rows.setdefault((row.get("service", homes[0]), name), []).append(row)
    return _ending(lambda service, table: rows.get((service, table), []))


def ending_of_stage(stage: Stage) -> Ending:
    """Return the end of a life, before it is forgotten."""
    return _ending(lambda service, table: [dict(row) for row in stage.checker.rows(service, table)])


def difference(real: Ending, twin: Ending) -> str:
    """Say which rows of which tables only one of them has."""
    lines = []
    for name in sorted(real.keys() | twin.keys()):
        for whose, rows, others in (
            ("lab", real.get(name, []), twin.get(name, [])),
            ("twin", twin.get(name, []), real.get(name, [])),
        ):
            left = [*others]
            for row in rows:
                if row in left:
                    left.remove(row)
                else:
                    lines.append(f"  only the {whose} has in {name}: {row}")
    return "\n".join(lines)


def _ending(rows_of: Rows) -> Ending:
    names = _names(rows_of)
    ending: Ending = {}
    for service, tables in DATABASES.items():
        for table in tables:
            if rows := sorted(_plain(row, names) for row in rows_of(service, table.name)):
                ending[f"{service}.{table.name}"] = rows
    return ending


def _names(rows_of: Rows) -> dict[str, str]:
    """Map each id to what it is the id of; the older ones first, where there are several."""
    names = {}
    for service, table, column, name in _IDS:
        ids = sorted({int(row[column]) for row in rows_of(service, table)})
        names |= {str(id): f"{name} {number}" for number, id in enumerate(ids, 1)}
    for service in DATABASES:
        if service != "platform":
            for row in rows_of(service, _OUTBOX):
                about = names.get(row["msg_key"], row["msg_key"])
                names[str(row["event_id"])] = f"{row['topic']} of {about}"
    return names


def _plain(row: Row, names: Mapping[str, str]) -> str:
    kept = {
        column: _value(column, value, names)
        for column, value in row.items()
        if column not in _LEFT_OUT
    }
    return ", ".join(f"{column}: {value}" for column, value in sorted(kept.items()))


def _value(column: str, value: Any, names: Mapping[str, str]) -> Any:
    """Return what is kept of a value."""
    if column in _FIXED or value is None:
        return value
    if _PRESENCE.fullmatch(column) and column != "msg_key":
        return "…" if value else None
    if isinstance(value, bool):
        return int(value)
    text = _NUMBER.sub("#", str(value))
    if column in _ANSWERS and text:
        text = json.dumps({**json.loads(text), "message": "…"}, ensure_ascii=False)
    return _ID.sub(lambda id: names.get(id[0], "an id"), text)
