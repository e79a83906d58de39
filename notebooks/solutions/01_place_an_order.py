"""Solutions to the exercises of notebook 01. Try them yourself first."""

from concurrent.futures import ThreadPoolExecutor


def pay_amount(price, number, money_paid, coupon_paid):
    """What is left to pay of an order, in cents."""
    goods_amount = price * number
    shipping_fee = 0 if goods_amount > 100_00 else 10_00
    return goods_amount + shipping_fee - money_paid - coupon_paid


def buy_outright(lab):
    """Place an order of which nothing is left to pay, and return the answer."""
    return lab.order(coupon=True, money_paid=5000_00 - 20_00)


def click_sixteen_times(lab):
    """Send one order sixteen times at once, and return the answers as a list."""
    with ThreadPoolExecutor(16) as fingers:
        return list(fingers.map(lambda _: lab.order(key="sixteen clicks"), range(16)))
