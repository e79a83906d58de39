"""The tour: the whole lesson, from an order to its payment, in the terminal, in a few seconds."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from labkit.cli.base import echo, print_table, show_progress
from labkit.lab.display.answer import Answer
from labkit.lab.display.changes import Changes
from labkit.lab.display.frames import Difference, Table
from labkit.lab.lab import Lab

_ORDERING = (
    "trade_order",
    "trade_goods_number_log",
    "trade_coupon",
    "trade_user_money_log",
    "trade_operation",
    "trade_mq_producer",
    "trade_mq_consumer_log",
)
_OPENING = ("trade_pay", "platform_trade")
_PAYING = (
    *("platform_trade", "platform_notice", "trade_pay", "trade_order"),
    *("trade_user", "trade_user_score_log", "trade_pay_log"),
    *("trade_operation", "trade_mq_producer", "trade_mq_consumer_log"),
)
_CONFIRM = "order.confirm_pre_order.before_commit"
_COLOURS = {"+": "green", "~": "yellow", "-": "red"}


def take() -> None:
    """Start a lab in a home of its own, walk through it, and leave nothing behind."""
    home = Path(tempfile.mkdtemp(prefix="labkit-tour-"))
    try:
        with show_progress("starting the services and a broker, each service with a database"):
            lab = Lab.up(home)
            lab.reset()
        try:
            _walk(lab)
        finally:
            with show_progress("stopping everything"):
                lab.down()
    finally:
        shutil.rmtree(home)
    echo("\nEverything is stopped. Next: make lab opens the course.")


def _walk(lab: Lab) -> None:
    _table("what runs", lab.services())
    placed = _step(
        "1. An order (下单): one 华为P30, with a coupon of 20.00 and 100.00 from the balance",
        lab,
        _ORDERING,
        lambda: lab.order(coupon=True, money_paid=100_00),
    )
    with lab.faults.armed(_CONFIRM, "refuse"):
        _step(
            "2. The next order takes its stock and 300.00 from the balance, and fails at confirm",
            lab,
            _ORDERING,
            lambda: lab.order(goods_number=2, money_paid=300_00),
        )
    echo(
        "The order was cancelled (取消) in one transaction with the message order_cancel; goods,\n"
        "coupon and user each gave back what they had really taken: compensation (补偿). And pay\n"
        "will never accept a payment for it: blocked."
    )
    if placed.order_id:
        _pay(lab, placed.order_id)
    echo("")
    _table("5. The platform's bill beside the shop's payments (对账)", lab.reconcile())
    echo("")
    _table("6. What must be true, whatever fails", lab.check())


def _pay(lab: Lab, order_id: str) -> None:
    opened = _step(
        "3. The first order is to be paid (支付): a payment is saved, then the platform is asked",
        lab,
        _OPENING,
        lambda: lab.create_payment(order_id),
    )
    echo(f"the cashier page (收银台): {opened.cashier_url}")
    _step(
        "4. Its user presses pay there, and the platform calls back, signed (回调)",
        lab,
        _PAYING,
        lambda: lab.pay(order_id),
    )
    echo(
        "The callback was believed because it is signed, and because merchant, payment and amount\n"
        "are right. Payment and the message paid are one transaction; from the message come the\n"
        "order's state, the points (积分) and the payment log (支付日志), each once."
    )


def _step(title: str, lab: Lab, tables: Sequence[str], ask: Callable[[], Answer]) -> Answer:
    echo(f"\n{title}", "bold")
    with lab.watch(*tables) as changes, show_progress("waiting until all has settled"):
        answer = ask()
    echo(f"the answer: {answer!r}")
    _print(changes)
    return answer


def _table(title: str, frame: Table) -> None:
    print_table(title, frame.to_dict("records"))  # type: ignore[arg-type]  # its keys are strings


def _print(changes: Changes) -> None:
    for difference in changes.differences:
        if difference.changed:
            _print_difference(difference)
    echo("(+ new row, ~ changed: before → after)", "dim")


def _print_difference(difference: Difference) -> None:
    name, *lines = difference.text().splitlines()
    echo(name, "bold")
    for line in lines:
        echo(f"  {line}", _COLOURS.get(line[0], ""))
