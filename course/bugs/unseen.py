"""The bugs that the twin does not see, by what it lacks, and those that it seldom finds."""

_UNSEEN = {
    "the supervisor, its helpers and its files": (
        "helper-outlives-its-supervisor",
        "databases-replaced-one-by-one",
        "fork-always-succeeds",
        "state-must-be-written",
        "counters-are-a-hole",
    ),
    "threads of a process": ("thread-that-ends-is-not-noticed",),
    "transactions of a server that overlap, and their locks": (
        "held-row-is-waited-for",
        "held-row-is-an-outage",
        "held-row-burns-a-try",
        "stock-written-back",
        "balance-written-back",
    ),
    "two releases that run side by side": (
        "settled-without-a-new-group",
        "addressed-at-the-start-only",
        "strict-reader",
        "hash-over-defaults",
        "contract-in-the-expansion",
        "reads-before-the-migration",
        "default-that-changes",
        "state-that-nobody-knows",
        "upcaster-that-forgets",
    ),
    "Kafka's own groups": ("one-group-for-all-services",),
    "messages of a size": ("a-batch-counts-not-bytes", "text-without-end"),
    "an id that something else has already": (
        "ids-repeat",
        "insert-once-without-target",
        "audit-without-hash",
    ),
    "HTTP": ("key-made-anew",),
    "a message that no handler can take": ("poison-blocks-its-partition",),
    "a notice that the platform has not sent": (
        "callback-without-signature",
        "callback-without-amount",
    ),
    "a person who gives a payment up": ("answer-wipes-the-cause",),
    "what is told or done, and stands in no table at the end": (
        "lag-is-loss",
        "one-slow-call-delays-all",
        "cashier-of-an-ended-order",
    ),
}
#: Bug → a life that breaks with it, of which a search draws one in many thousands.
SELDOM = {
    "not-found-by-the-clock": ("sim1/looked-for/1/0/order.save_pre_order.before_commit#1=stall:5"),
    "saved-by-the-clock": (
        "sim1/looked-for/1/0/order.save_pre_order.before_commit#1=delay:5;order.turn-1#236=clock:-4"
    ),
    "no-trade-is-the-end": (
        "sim1/opened-and-cancelled/1/0/platform.create_trade.before_commit#1=delay:1.5"
    ),
    "trouble-about-what-is-paid": (
        "sim1/paid-late/1/0/pay.query_trade.before_call#1=delay:0.8;"
        "pay.query_trade.after_call#1=refuse"
    ),
}
#: Bug → what the twin lacks to see it.
UNSEEN = {name: lack for lack, names in _UNSEEN.items() for name in names}
