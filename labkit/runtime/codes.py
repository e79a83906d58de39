"""The few codes with which the runtime itself refuses.

Clients see one set of numbers and names, so an application's catalogue has these codes too.
"""

from labkit.results import ResultCode


class RuntimeCode(ResultCode):
    """Refusals of the runtime.

    Attributes:
        BAD_REQUEST: there is nothing here to retry or to give up.
        ORDER_CANCELLED: the operation was compensated, and is not done again.
        IDEMPOTENCY_KEY_REUSED: the operation was claimed before by a command with another body.
        MQ_SEND_FAILED: the handler of an event failed again.
    """

    BAD_REQUEST = -1, 400
    ORDER_CANCELLED = 10008
    IDEMPOTENCY_KEY_REUSED = 10009, 409
    MQ_SEND_FAILED = 60003
