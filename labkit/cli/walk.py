"""The tour: the whole lesson of placing an order, in the terminal, in a few seconds."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.text import Text

from labkit.cli.base import console, print_table, say
from labkit.lab.frames import Difference
from labkit.lab.lab import Answer, Lab, Seen

_WATCHED = (
    "trade_order",
    "trade_goods_number_log",
    "trade_coupon",
    "trade_user_money_log",
    "trade_operation",
    "trade_mq_producer",
    "trade_mq_consumer_log",
)
_CONFIRM = "order.confirm_pre_order.before_commit"
_COLOURS = {"+": "green", "~": "yellow", "-": "red"}


def take() -> None:
    """Start a lab in a home of its own, walk through it, and leave nothing behind."""
    home = Path(tempfile.mkdtemp(prefix="labkit-tour-"))
    try:
        with console.status("starting five services and a broker, each service with a database"):
            lab = Lab.up(home)
            lab.reset()
        try:
            _walk(lab)
        finally:
            with console.status("stopping everything"):
                lab.down()
    finally:
        shutil.rmtree(home)
    say("\nEverything is stopped. Next: [bold]make lab[/bold] opens the course.")


def _walk(lab: Lab) -> None:
    print_table("what runs", lab.services().to_dict("records"))  # type: ignore[arg-type]  # str keys
    _step(
        "1. An order (下单): one 华为P30, with a coupon of 20.00 and 100.00 from the balance",
        lab, lambda: lab.order(coupon=True, money_paid=100_00),
    )  # fmt: skip
    with lab.faults.armed(_CONFIRM, "refuse"):
        _step(
            "2. The next order takes its stock and 300.00 from the balance, and fails at confirm",
            lab, lambda: lab.order(goods_number=2, money_paid=300_00),
        )  # fmt: skip
    say(
        "The order was cancelled (取消) in one transaction with the message order_cancel; goods,\n"
        "coupon and user each gave back what they had really taken: compensation (补偿)."
    )
    print_table("\n3. What must be true, whatever fails", lab.check().to_dict("records"))  # type: ignore[arg-type]  # str keys


def _step(title: str, lab: Lab, order: Callable[[], Answer]) -> None:
    say(f"\n[bold]{title}[/bold]")
    with lab.watch(*_WATCHED) as seen, console.status("waiting until all has settled"):
        answer = order()
    say(f"the shop answered: {answer!r}")
    _print(seen)


def _print(seen: Seen) -> None:
    for difference in seen.differences:
        if difference.changed:
            _print_difference(difference)
    say("[dim](+ new row, ~ changed: before → after)[/dim]")


def _print_difference(difference: Difference) -> None:
    name, *lines = difference.text().splitlines()
    say(f"[bold]{name}[/bold]")
    for line in lines:
        console.print(Text(f"  {line}", style=_COLOURS.get(line[0], "")), soft_wrap=True)
