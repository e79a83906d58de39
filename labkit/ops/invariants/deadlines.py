"""The invariants about time: everything ends within its deadline.

Half a minute covers the longest delay between two tries and the slowest return. It is measured by
the wall clock from an id or a next try. While a fault lasts longer than that, a breach is reported,
and rightly.
"""

from labkit.ops.invariants.kinds import Across, across, number_of
from labkit.ops.reader import DATABASES
from labkit.runtime.db.tables import Moment

_DECIDED_MS, _LATE_MS = 15_000, 30_000
_LATE = f":now_ms - {_LATE_MS}"
#: Columns whose times may be in the future.
_DUE = ("time_expire", "next_try")
_NEVER = "9999"  # sorts after every time
#: Database, table, and its columns with times in the past.
_MOMENTS = tuple(
    (service, table.name, moments)
    for service, tables in DATABASES.items()
    for table in tables
    if (
        moments := [
            column.name for column in table.c if column.type is Moment and column.name not in _DUE
        ]
    )
)


def _forgotten(service: str, key: str, table: str, which: str) -> str:
    return f"""SELECT 'nobody tries {service}.' || {key} AS breach FROM "{service}".{table}
               WHERE {which}"""


def _is_ahead(service: str, table: str, columns: list[str]) -> str:
    """Write SQL for the first future time in a table, over all columns in one scan.

    The first, because it stays the same while more are written: a breach is reported only where
    each check finds it again.
    """
    first = ", ".join(
        f"coalesce(min(CASE WHEN {column} > :latest THEN {column} END), '{_NEVER}')"
        for column in columns
    )
    return f"""SELECT '{service}.{table} has the time ' || first AS breach
               FROM (SELECT min('{_NEVER}', {first}) AS first FROM "{service}".{table})
               WHERE first < '{_NEVER}'"""


ACROSS: tuple[Across, ...] = (
    across(
        "every order is decided",
        "No order is unconfirmed long after its deadline.",
        'SELECT count(*) FROM "order".trade_order',
        f"""SELECT 'order ' || order_id || ' is not decided' AS breach FROM "order".trade_order
            WHERE order_status = 0 AND order_id < first_of(:now_ms - {_DECIDED_MS})""",
    ),
    across(
        "messages arrive in time",
        "No message is on its way for longer than 30 s, unless a person gave it up.",
        f"SELECT {number_of('outbox')}",
        f"""SELECT 'event ' || event_id || ' (' || topic || ' of ' || service || ') has not arrived'
            AS breach FROM outbox WHERE status IN (0, 1) AND event_id < first_of({_LATE})""",
    ),
    across(
        "nothing is forgotten",
        "Whatever waits for another try gets it: none is overdue by 30 s.",
        f"""SELECT {number_of("inbox")} + (SELECT count(*) FROM pay.trade_pay)
                + (SELECT count(*) FROM pay.trade_refund)""",
        f"""SELECT 'nobody tries ' || service || '.' || event_id AS breach FROM inbox
            WHERE status = 0 AND next_try < {_LATE}
            UNION ALL
            {
            _forgotten(
                "pay",
                "pay_id",
                "trade_pay",
                f'''next_check < {_LATE}
              OR (is_paid = 0 AND next_check IS NULL AND last_error IS NULL)''',
            )
        }
            UNION ALL
            {
            _forgotten("pay", "refund_id", "trade_refund", f"state = 0 AND next_try < {_LATE}")
        }""",
    ),
    across(
        "refunds are answered in time",
        "No refund waits for the platform longer than 30 s, unless a person gave it up.",
        "SELECT count(*) FROM pay.trade_refund",
        f"""SELECT 'refund ' || refund_id || ' is not answered' AS breach FROM pay.trade_refund
            WHERE state = 0 AND refund_id < first_of({_LATE})""",
    ),
    across(
        "nothing is of the future",
        "No time that is noted anywhere is a day or more ahead of both clocks.",
        f"SELECT {sum(len(columns) for _, _, columns in _MOMENTS)}",
        "\nUNION ALL\n".join(_is_ahead(*moment) for moment in _MOMENTS),
    ),
)
