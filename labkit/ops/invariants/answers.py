"""Invariants of clients' answers: each recorded answer agrees with the tables.

Without a history (see `labkit.ops.history`) they read nothing. The shop answers after its commit,
so every answer that was recorded before the databases are read must agree; the history is read
first.
"""

import json
import sqlite3
from collections.abc import Iterable

from labkit.ops.history import Exchange
from labkit.ops.invariants.kinds import across, from_json
from labkit.ops.invariants.requests import PLACED
from labkit.shop.codes import Code

_TABLES = """
CREATE TEMP TABLE exchange (
  number TEXT PRIMARY KEY, kind TEXT, request TEXT, key TEXT, user_id INTEGER, hash TEXT,
  status INTEGER, code INTEGER, name TEXT, message TEXT, order_id INTEGER, pay_id INTEGER, data TEXT
);
CREATE INDEX exchange_of_order ON exchange (order_id);
CREATE TEMP TABLE made (number TEXT, order_id INTEGER, PRIMARY KEY (number, order_id));
"""
#: The order that the shop gave to a request, by its key.
_BY_KEY = """SELECT t.number, r.order_id FROM exchange t
  JOIN "order".trade_order_request r ON r.user_id = t.user_id
   AND r.idempotency_key = t.key AND r.request_hash = t.hash
  WHERE t.kind = 'place'"""


def create_tables(
    mirror: sqlite3.Connection, exchanges: Iterable[Exchange], made: str = _BY_KEY
) -> None:
    """Create the tables `exchange` and `made`, and fill them.

    Args:
        mirror: of the lab's databases.
        exchanges: of the history.
        made: SQL that selects `number` and `order_id`.
    """
    create_empty(mirror)
    fill(mirror, exchanges, made)


def create_empty(mirror: sqlite3.Connection) -> None:
    """Create the table `exchange`, and `made`, which has the orders that a request has led to."""
    for statement in filter(str.strip, _TABLES.split(";")):
        mirror.execute(statement)


def fill(mirror: sqlite3.Connection, exchanges: Iterable[Exchange], made: str = _BY_KEY) -> None:
    """Fill the tables anew, as `create_tables` does."""
    mirror.execute("DELETE FROM exchange")
    mirror.execute("DELETE FROM made")
    rows = [
        (
            exchange.number,
            exchange.kind,
            exchange.request,
            exchange.key,
            exchange.user_id,
            exchange.request_hash,
            exchange.status,
            exchange.code,
            exchange.name,
            exchange.message,
            exchange.order_id,
            exchange.pay_id,
            json.dumps(exchange.data),
        )
        for exchange in exchanges
    ]
    mirror.executemany(f"INSERT INTO exchange VALUES ({', '.join('?' * 13)})", rows)
    mirror.execute(f"INSERT OR IGNORE INTO made {made}")


#: Final refusals of a request to place an order.
_REFUSED = f"(t.status IN (400, 404, 422) OR t.code = {Code.IDEMPOTENCY_KEY_REUSED:d})"
#: Answers that there is no such order, or no such payment.
_NOT_FOUND = (
    f"t.code IN ({Code.ORDER_NOT_FOUND:d}, {Code.PAYMENT_NOT_FOUND:d}) AND t.kind <> 'place'"
)
_FINAL = f"t.kind = 'place' AND (t.status = 200 OR {_REFUSED})"
_KEPT = "t.kind = 'place' AND t.key IS NOT NULL AND t.status IN (200, 422)"
_ENDS = """CASE t.kind WHEN 'cancel' THEN 2 WHEN 'return' THEN 4
  ELSE json_extract(t.data, '$.order_status') END"""
_ENDED = f"""t.status = 200 AND t.kind IN ('cancel', 'return', 'find') AND {_ENDS} IN (2, 4)"""
_REQUEST = "'request ' || coalesce(t.key, t.number)"


def _count(where: str) -> str:
    return f"SELECT count(*) FROM exchange t WHERE {where}"


def _succeeded(kind: str, where: str) -> str:
    return f"(t.kind = '{kind}' AND t.status = 200 AND {where})"


_SEES_PAID = _succeeded("find", "json_extract(t.data, '$.pay_status') = 2")
_SEES_PAYMENT = _succeeded("find_payment", "1")
_OPENED, _PRESSED = _succeeded("open_payment", "1"), _succeeded("pay", "1")
_GAVE_UP = _succeeded("give-up", "1")
_SEES_REFUND = _succeeded("find", "json_extract(t.data, '$.refund_time') IS NOT NULL")
_SEES_BACK = _succeeded("find_payment", "json_extract(t.data, '$.refund_id') IS NOT NULL")

ACROSS = (
    across(
        "who was told so has an order",
        "Whoever was told that an order is placed has it: one, confirmed, as it was asked for.",
        _count("t.kind = 'place' AND t.status = 200"),
        f"""SELECT {_REQUEST} || ' was told that order ' || t.order_id || ' is placed, and it '
              || CASE WHEN o.order_id IS NULL THEN 'is not there'
                      WHEN o.confirm_time IS NULL THEN 'never was confirmed'
                      ELSE 'is another one' END AS breach
            FROM exchange t LEFT JOIN "order".trade_order o ON o.order_id = t.order_id
            WHERE t.kind = 'place' AND t.status = 200
              AND (o.confirm_time IS NULL OR sha256({PLACED}) IS NOT t.hash)
            UNION ALL
            SELECT {_REQUEST} || ' has several confirmed orders: '
              || group_concat(DISTINCT m.order_id)
            FROM exchange t JOIN made m ON m.number = t.number
            JOIN "order".trade_order o ON o.order_id = m.order_id AND o.confirm_time IS NOT NULL
            GROUP BY t.request HAVING count(DISTINCT m.order_id) > 1
            UNION ALL
            SELECT {_REQUEST} || ' was told to ask for order ' || max(t.order_id) || ', and order '
              || max(m.order_id) || ' was confirmed'
            FROM exchange t JOIN made m ON m.number = t.number
            JOIN "order".trade_order o ON o.order_id = m.order_id AND o.confirm_time IS NOT NULL
            WHERE t.kind = 'place' GROUP BY t.request
            HAVING count(DISTINCT t.number) = 1 AND max(t.status) = 202
               AND max(t.order_id) <> max(m.order_id)""",
    ),
    across(
        "a final no stays no",
        "Whoever was refused for good, or told that there is no such order, never has one.",
        _count(f"(t.kind = 'place' AND {_REFUSED}) OR {_NOT_FOUND}"),
        f"""SELECT {_REQUEST} || ' was refused with ' || t.status || ' ' || t.name || ', and order '
              || o.order_id || ' was confirmed' AS breach
            FROM exchange t JOIN made m ON m.number = t.number
            JOIN "order".trade_order o ON o.order_id = m.order_id AND o.confirm_time IS NOT NULL
            WHERE t.kind = 'place' AND {_REFUSED}
            UNION ALL
            SELECT 'order ' || o.order_id || ' was answered 404, which is final, and is there'
            FROM exchange t JOIN "order".trade_order o ON o.order_id = t.order_id
            WHERE {_NOT_FOUND} AND t.kind <> 'find_payment'
              AND coalesce(t.user_id, o.user_id) = o.user_id
            UNION ALL
            SELECT 'payment ' || y.pay_id || ' was answered 404, and is there'
            FROM exchange t JOIN pay.trade_pay y ON y.pay_id = t.pay_id
            WHERE {_NOT_FOUND} AND t.kind = 'find_payment'""",
    ),
    across(
        "one key has one answer",
        "Whoever asks again under a key after a final answer gets it again, word for word.",
        _count(_FINAL),
        f"""SELECT {_REQUEST} || ' was told several things: '
              || group_concat(DISTINCT t.status || ' ' || t.message) AS breach
            FROM exchange t WHERE {_FINAL} GROUP BY t.request
            HAVING count(DISTINCT t.code || t.message || coalesce(t.order_id, '')) > 1""",
    ),
    across(
        "a final answer is kept",
        "Every final answer that was told under a key is kept with it, so that it stays the same.",
        _count(_KEPT),
        f"""SELECT {_REQUEST} || ' was told ' || t.status || ' ' || t.message
              || ', and there is kept '
              || coalesce(r.answer, 'nothing') AS breach
            FROM exchange t LEFT JOIN "order".trade_order_request r ON r.user_id = t.user_id
             AND r.idempotency_key = t.key AND r.request_hash = t.hash
            WHERE {_KEPT} AND (({from_json("r.answer", "code")}) IS NOT t.code
              OR ({from_json("r.answer", "message")}) IS NOT t.message
              OR r.order_id <> t.order_id)""",
    ),
    across(
        "what was told ended has ended",
        "An order of which a client was told that it is cancelled, or returned, is that for ever.",
        _count(_ENDED),
        f"""SELECT 'order ' || t.order_id || ': state ' || {_ENDS} || ' was told, and it is in '
              || coalesce(o.order_status, 'none') AS breach
            FROM exchange t LEFT JOIN "order".trade_order o ON o.order_id = t.order_id
            WHERE {_ENDED} AND o.order_status IS NOT CAST({_ENDS} AS INTEGER)""",
    ),
    across(
        "what was told paid is paid",
        "A payment that was told open is of its order, with its amount; one told paid is paid.",
        _count(" OR ".join((_SEES_PAID, _SEES_PAYMENT, _OPENED, _PRESSED, _GAVE_UP))),
        f"""SELECT 'order ' || t.order_id || ' was told paid, and is not' AS breach
            FROM exchange t LEFT JOIN "order".trade_order o ON o.order_id = t.order_id
            WHERE {_SEES_PAID} AND o.pay_status IS NOT 2
            UNION ALL
            SELECT 'payment ' || t.pay_id || ' was told, of order ' || t.order_id || ' and '
              || json_extract(t.data, '$.pay_amount') || ' cents, and is '
              || coalesce('of ' || y.order_id || ' and ' || y.pay_amount || ' cents, is_paid '
                          || y.is_paid, 'not there')
            FROM exchange t LEFT JOIN pay.trade_pay y ON y.pay_id = t.pay_id
            WHERE ({_OPENED} OR {_SEES_PAYMENT})
              AND ((json_extract(t.data, '$.is_paid') = 1 AND y.is_paid IS NOT 1)
                OR y.order_id IS NOT t.order_id
                OR y.pay_amount IS NOT json_extract(t.data, '$.pay_amount'))
            UNION ALL
            SELECT 'trade ' || t.pay_id || ': its buyer was told that the button ' || t.kind
              || ' was pressed, and it is ' || coalesce(p.trade_status, 'not there')
            FROM exchange t LEFT JOIN platform.platform_trade p ON p.out_trade_no = t.pay_id
            WHERE ({_PRESSED} AND p.trade_status IS NOT 'TRADE_SUCCESS')
               OR ({_GAVE_UP} AND p.trade_status IS NOT 'TRADE_CLOSED')""",
    ),
    across(
        "what was told refunded came back",
        "A refund that a client was told of is one of that payment; one told made, is made.",
        _count(f"{_SEES_REFUND} OR {_SEES_BACK}"),
        f"""SELECT 'order ' || t.order_id || ' was told refunded, and no refund of it is made'
              AS breach FROM exchange t
            LEFT JOIN "order".trade_order o ON o.order_id = t.order_id
            WHERE {_SEES_REFUND} AND (o.refund_time IS NULL OR NOT EXISTS (
              SELECT 1 FROM pay.trade_refund r WHERE r.order_id = t.order_id AND r.state = 1))
            UNION ALL
            SELECT 'payment ' || t.pay_id || ' was told to go back by refund '
              || json_extract(t.data, '$.refund_id') || ', which is ' || CASE WHEN r.pay_id IS NULL
                   THEN 'none of it' ELSE 'not made' END
            FROM exchange t LEFT JOIN pay.trade_refund r ON r.pay_id = t.pay_id
             AND r.refund_id = CAST(json_extract(t.data, '$.refund_id') AS INTEGER)
            WHERE {_SEES_BACK} AND (r.pay_id IS NULL
              OR (json_extract(t.data, '$.refund_time') IS NOT NULL AND r.state <> 1))""",
    ),
)
