"""The shop's catalogue of codes, which every answer names by number and by name."""

from labkit.results import ResultCode


class Code(ResultCode):
    """The catalogue: 1 is success; failures come in families by their first digit."""

    SUCCESS = 1, 200
    BAD_REQUEST = -1, 400
    # 1xxxx: the order
    ORDER_STATUS_UPDATE_FAILED = 10001, 409
    SHIPPING_FEE_WRONG = 10002
    ORDER_AMOUNT_WRONG = 10003
    ORDER_SAVE_FAILED = 10004
    ORDER_CONFIRM_FAILED = 10005
    ORDER_NOT_FOUND = 10006, 404
    ORDER_UNDECIDED = 10007, 202
    ORDER_CANCELLED = 10008
    IDEMPOTENCY_KEY_REUSED = 10009, 409
    DEPENDENCY_AWAY = 10010, 503
    # 2xxxx: goods
    GOODS_MISSING = 20001
    GOODS_PRICE_WRONG = 20002
    STOCK_SHORT = 20003
    STOCK_DEDUCT_FAILED = 20004
    GOODS_NUMBER_WRONG = 20005
    # 3xxxx: the user
    USER_MISSING = 30002
    BALANCE_DEDUCT_FAILED = 30003
    ALREADY_REFUNDED = 30004
    # 4xxxx: coupons
    COUPON_MISSING = 40001
    COUPON_INVALID = 40002
    COUPON_USE_FAILED = 40003
    COUPON_ALREADY_USED = 40004
    # 5xxxx: money
    MONEY_NEGATIVE = 50001
    MONEY_MORE_THAN_BALANCE = 50002
    MONEY_MORE_THAN_AMOUNT = 50003
    # 6xxxx: the message queue
    MQ_TOPIC_EMPTY = 60001
    MQ_BODY_EMPTY = 60002
    MQ_SEND_FAILED = 60003
    # 7xxxx: payments
    PAYMENT_NOT_FOUND = 70001, 404
    PAYMENT_ALREADY_PAID = 70002, 409
    PAYMENT_ERROR = 70003
    ORDER_NOT_PAYABLE = 70004, 409
