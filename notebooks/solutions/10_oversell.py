"""Solutions to the exercises of notebook 10. Try them yourself first."""


def take_one(read, swap):
    """Take one piece by compare-and-swap; say whether there was one.

    Whoever loses the race knows that somebody else won it, so the crowd as a whole gets on.
    """
    while (seen := read()) > 0:
        if swap(seen, seen - 1):
            return True
    return False


def payment():
    """An UPDATE with :amount and :user_id."""
    return (
        "UPDATE trade_user SET user_money = user_money - :amount "
        "WHERE user_id = :user_id AND user_money >= :amount"
    )
