"""Ways to spoil the tables so that they are not what clients were told, or that itself.

What is of the `history` is a text in its file and what stands in its first place instead.
The names of the values (`:paid`) are those of `ids` in `tests/integration/test_invariants.py`.
"""

from tests.support.corrupted_orders import Spoilt, copied

#: The invariant that is to see it → what else cannot but see it, and how the data is spoilt.
SPOILT: Spoilt = {
    "who was told so has an order": (
        {"a final answer is kept"},
        [
            ("order", "DELETE FROM trade_order WHERE order_id = :order"),
            ("order", "DELETE FROM trade_operation WHERE order_id = :order"),
            ("order", "DELETE FROM trade_order_request WHERE order_id = :order"),
        ],
    ),
    "a final no stays no": (
        set(),
        [
            copied("order", "trade_order", "order_id = :order", order_id="1"),
        ],
    ),
    "one key has one answer": (
        set(),
        [
            ("history", '"code": 20003 → "code": 20001'),
        ],
    ),
    "a final answer is kept": (
        set(),
        [
            (
                "order",
                """UPDATE trade_order_request SET answer = NULL
                     WHERE idempotency_key = 'too much'""",
            ),
        ],
    ),
    "what was told ended has ended": (
        set(),
        [
            ("order", "UPDATE trade_order SET order_status = 1 WHERE order_id = :cancelled"),
        ],
    ),
    "what was told paid is paid": (
        set(),
        [
            ("platform", "DELETE FROM platform_trade WHERE out_trade_no = :paid"),
        ],
    ),
    "what was told refunded came back": (
        set(),
        [
            ("pay", "DELETE FROM trade_refund WHERE pay_id = :returned"),
        ],
    ),
}
