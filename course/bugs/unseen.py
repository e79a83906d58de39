"""The bugs that the twin does not see, by what it lacks: the real shop alone finds them."""

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
        "no-trade-is-the-end",
    ),
}
#: Bug → what the twin lacks to see it.
UNSEEN = {name: lack for lack, names in _UNSEEN.items() for name in names}
