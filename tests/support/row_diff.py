"""The difference between two looks at every table."""

from tests.support.db import Row

KEPT = "order.trade_order_request"  # remembers every key with its final answer, refusals too


def changes(before: dict[str, list[Row]], after: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """The rows that are new or have changed, by table; nothing may be gone but an old version."""
    assert before.keys() == after.keys()
    assert all(len(after[name]) >= len(rows) for name, rows in before.items())
    new = {name: [row for row in rows if row not in before[name]] for name, rows in after.items()}
    return {name: rows for name, rows in new.items() if rows}
