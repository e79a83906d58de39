"""Invariants within the order database: requests, their keys and their answers."""

from labkit.ops.invariants.kinds import Local, as_json, from_json
from labkit.shop.codes import Code
from labkit.shop.messages import CancelOrder, ConfirmPreOrder, PlaceOrder, PreOrder, UserOrder
from labkit.shop.order.statements import NOT_SAVED

PLACED = as_json(PlaceOrder, "o")
_CODE = from_json("r.answer", "code")
_ITS_CODE = f"(SELECT {_CODE} FROM trade_order_request r WHERE r.order_id = o.order_id)"
_NAME = f"(SELECT name FROM catalogue WHERE code = {_CODE})"
_TEXT = from_json("r.answer", "message")
_CANCELLED = as_json(
    CancelOrder,
    "o",
    code=f"iif(p.operation = 'cancel_failed', {_ITS_CODE}, {Code.ORDER_CANCELLED:d})",
    reason="o.cancel_reason",
)
_USER = as_json(UserOrder, "o")
_CONFIRMED = as_json(ConfirmPreOrder, "o")
_PRE_ORDER = as_json(PreOrder, "o", request=PLACED)


def _refusal(message: str, data: str) -> str:
    """Write SQL for a refusal with the code of the kept answer."""
    head = f"""'{{"success":false,"code":' || {_CODE} || ',"name":"' || {_NAME}"""
    return f"""{head} || '","message":' || json_quote({message}) || ',"data":' || {data} || '}}'"""


_REASON = "'order ' || o.order_id || ': was cancelled: ' || o.cancel_reason"
_CANCELLED_ANSWER = _refusal(
    f"{_REASON} || '; nothing is kept of it'", """'{"order_id":' || o.order_id || '}'"""
)
_RULED_OUT = _refusal(
    f"'order ' || r.order_id || ': was cancelled: {NOT_SAVED}; nothing is kept of it'",
    """'{"order_id":' || r.order_id || '}'""",
)
_REFUSED = _refusal(_TEXT, "'null'")

WITHIN = (
    Local(
        "every order has its key",
        "Every order has exactly one request: a key of its user, for what was asked for.",
        "order",
        "SELECT count(*) FROM trade_order",
        f"""SELECT o.order_id, r.idempotency_key FROM trade_order o
           LEFT JOIN trade_order_request r ON r.order_id = o.order_id AND r.user_id = o.user_id
           WHERE r.request_hash IS NOT sha256({PLACED}) OR r.idempotency_key = ''""",
    ),
    Local(
        "answers are true",
        "Whose order is decided has its answer kept, word for word; who was refused has no order.",
        "order",
        "SELECT count(*) FROM trade_order_request",
        f"""SELECT r.order_id, o.order_status, r.answer FROM trade_order_request r
           LEFT JOIN trade_order o ON o.order_id = r.order_id
           WHERE r.answer IS NOT CASE
             WHEN o.order_status = 0 THEN NULL
             WHEN o.confirm_time IS NOT NULL THEN
               '{{"success":true,"code":1,"name":"SUCCESS","message":"order ' || o.order_id
               || ' is placed","data":{{"order_id":' || o.order_id || '}}}}'
             WHEN o.order_id IS NOT NULL THEN coalesce({_CANCELLED_ANSWER}, '')
             WHEN r.answer IS NULL THEN NULL
             WHEN {_CODE} = {Code.ORDER_CANCELLED:d} THEN {_RULED_OUT}
             ELSE coalesce({_REFUSED}, '') END
             OR (o.order_id IS NULL AND r.answer IS NOT NULL AND NOT EXISTS
               (SELECT 1 FROM catalogue WHERE code = {_CODE} AND final AND code <> 1))""",
    ),
    Local(
        "an order's operations are about it",
        "What was asked of the order service for an order is what the order says, to the letter.",
        "order",
        "SELECT count(*) FROM trade_operation WHERE outcome = 'applied'",
        f"""SELECT p.order_id, p.operation FROM trade_order o
           JOIN trade_operation p ON p.order_id = o.order_id AND p.operation <> 'record_paid'
           WHERE p.body_hash <> sha256(CASE p.operation
             WHEN 'confirm_order' THEN {_CONFIRMED} WHEN 'save_pre_order' THEN {_PRE_ORDER}
             WHEN 'return_order' THEN {_USER} ELSE coalesce({_CANCELLED}, '') END)""",
    ),
)
