"""Changes of the data that no invariant sees, each with the reason why that does no harm.

`docs/data-mutations.md` is checked against this, and a run of the mutations against both: what is
seen after all has no place here.
"""

#: Table and column (`*` is the row) → where alone it is harmless (SQL over the row), and why.
HARMLESS: dict[str, tuple[str, str]] = {
    "platform_notice.notify_id": (
        "1",
        "names a notice in its callbacks, of which the shop keeps none",
    ),
    "platform_notice.tries": (
        "1",
        "how often a notice was sent: only chooses the next delay",
    ),
    "platform_notice.next_try": (
        "answer_time IS NULL",
        "when a notice is sent again: the shop asks by itself as well",
    ),
    "platform_notice.last_error": (
        "answer_time IS NULL",
        "a text for people: why a notice was not answered",
    ),
    "platform_notice.answer_time": (
        "1",
        "a time for people, and for the figures of `labkit bench`: nobody acts on it",
    ),
    "platform_refund.refund_time": (
        "1",
        "a time for people and for the bill of its day, which reconciling compares",
    ),
    "platform_trade.add_time": (
        "1",
        "a time for people: nobody acts on it",
    ),
    "platform_trade.time_expire": (
        "1",
        "until when a trade may be paid: what is paid was paid before it",
    ),
    "platform_trade.token": (
        "1",
        "the secret in the cashier's address: asked again, the shop is told it anew",
    ),
    "platform_trade.notify_url": (
        "1",
        "where notices go: without them the shop asks by itself",
    ),
    "platform_trade.subject": (
        "1",
        "a text for people: its number of pieces is compared",
    ),
    "trade_coupon_log.log_time": (
        "direction = 'opening'",
        "nothing else says when a coupon was made",
    ),
    "trade_goods.goods_name": (
        "1",
        "a text for people",
    ),
    "trade_goods.goods_desc": (
        "1",
        "a text for people",
    ),
    "trade_goods.goods_price": (
        "1",
        "a price may change at any time: every order keeps its own",
    ),
    "trade_user.user_name": (
        "1",
        "a text for people",
    ),
    "trade_user.user_mobile": (
        "1",
        "a text for people",
    ),
    "trade_mq_consumer_log.next_try": (
        "status = 1",
        "read only while a message waits",
    ),
    "trade_mq_consumer_log.tries": (
        "next_try > 0",
        "how often a message was tried: only chooses the next delay",
    ),
    "trade_mq_consumer_log.add_time": (
        "next_try > 0",
        "when a message came first that was handled later: for people",
    ),
    "trade_mq_consumer_log.trace": (
        "1",
        "which picture a message is drawn in",
    ),
    "trade_mq_producer.trace": (
        "1",
        "which picture a message is drawn in",
    ),
    "trade_mq_producer.next_try": (
        "status = 2",
        "read only until a message is settled",
    ),
    "trade_mq_producer.tries": (
        "1",
        "how often a message was sent: only chooses the next delay",
    ),
    "trade_mq_producer.sent_time": (
        "1",
        "a time for people: the audit asks the groups themselves",
    ),
    "trade_mq_producer.settled_time": (
        "1",
        "a time for people: the audit asks the groups themselves",
    ),
    "trade_mq_producer.*": (
        "topic = 'dead_letter'",
        "a dead letter whose event was driven by hand: it was told, and nobody handles it",
    ),
    "trade_mq_producer.event_id": (
        "topic = 'dead_letter'",
        "a dead letter whose event was driven by hand: it was told, and nobody handles it",
    ),
    "trade_mq_producer.add_time": (
        "topic = 'dead_letter'",
        "a dead letter whose event was driven by hand: it was told, and nobody handles it",
    ),
    "trade_operation.add_time": (
        "outcome = 'refused'",
        "when something was refused: nothing else was written then",
    ),
    "trade_order_request.add_time": (
        "1",
        "when a key came first: for people, and its order has its own time",
    ),
    "trade_order_request.idempotency_key": (
        "answer IS NULL AND order_id NOT IN (SELECT order_id FROM trade_order)",
        "nothing came of the request and nobody was told anything: asked again, it begins anew",
    ),
    "trade_order_request.*": (
        "answer IS NULL AND order_id NOT IN (SELECT order_id FROM trade_order)",
        "nothing came of the request and nobody was told anything: asked again, it begins anew",
    ),
    "trade_order_request.order_id": (
        "order_id NOT IN (SELECT order_id FROM trade_order)",
        "of a request of which nothing was saved the id stands for nothing",
    ),
    "trade_order_request.user_id": (
        "answer IS NULL AND order_id NOT IN (SELECT order_id FROM trade_order)",
        "nothing came of the request and nobody was told anything: asked again, it begins anew",
    ),
    "trade_order_request.request_hash": (
        "answer IS NULL AND order_id NOT IN (SELECT order_id FROM trade_order)",
        "nothing came of the request and nobody was told anything: asked again, it begins anew",
    ),
    "trade_pay.add_time": (
        "1",
        "from which day's bill on it is reconciled; what is opened to be closed expires then",
    ),
    "trade_pay.close_time": (
        "1",
        "a time for people: the state is compared with the platform's",
    ),
    "trade_pay.tries": (
        "1",
        "how often the platform was asked: only chooses the next delay",
    ),
    "trade_pay.next_check": (
        "is_paid <> 1",
        "when the platform is asked next: at most half a minute late",
    ),
    "trade_pay.last_error": (
        "is_paid <> 1",
        "a text for people: why the platform could not be asked",
    ),
    "trade_pay.trade_no": (
        "is_paid <> 1",
        "the platform's number: whoever asks again is told it",
    ),
    "trade_refund.next_try": (
        "state = 1",
        "read only until a refund is made",
    ),
    "trade_refund.tries": (
        "1",
        "how often a refund was sent: only chooses the next delay",
    ),
}
