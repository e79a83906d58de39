"""The commands that do what a client does: order, and pay."""

import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from labkit.cli.base import DEFAULT_HOME, HomeOption, app, endpoints, print_table, say
from labkit.home import Home
from labkit.lab.client import Client
from labkit.ops.reader import Reader
from labkit.results import Result
from labkit.shop.states import PaymentState

_TOLD_SECONDS = 3.0
_POLL_SECONDS = 0.05


@app.command()
def order(
    home: HomeOption = DEFAULT_HOME,
    number: Annotated[int, typer.Option(help="Pieces.")] = 1,
    balance: Annotated[int, typer.Option(help="Cents to pay from the balance.")] = 0,
    coupon: Annotated[bool, typer.Option("--coupon", help="Use the user's first coupon.")] = False,
    user: Annotated[int | None, typer.Option(help="user_id; the first if not said.")] = None,
    goods: Annotated[int | None, typer.Option(help="goods_id; the first if not said.")] = None,
    key: Annotated[str | None, typer.Option(help="Idempotency-Key.")] = None,
) -> None:
    """Place an order (下单) over HTTP, and show the order. Exit code 1 when it is refused.

    Example: `labkit order --number 2 --balance 10000 --coupon`
    """
    client = _client(home)
    wanted: dict[str, Any] = {"goods_number": number, "money_paid": balance, "coupon": coupon}
    if user is not None:
        wanted["user_id"] = user
    if goods is not None:
        wanted["goods_id"] = goods
    response = client.place(client.body(**wanted), key)
    data = _say(response)
    if data:
        _show("the order", client.find(data["order_id"]))
    raise typer.Exit(data is None)


@app.command()
def pay(
    order_id: Annotated[int, typer.Argument(help="Of an order that is placed and not paid.")],
    home: HomeOption = DEFAULT_HOME,
    give_up: Annotated[bool, typer.Option("--give-up", help="Press the other button.")] = False,
) -> None:
    """Pay for an order (支付): open its payment, press the button of the cashier page, show it.

    Exit code 1 when the shop or the platform refuses.

    Example: `labkit pay 383026413512351744`
    """
    client = _client(home)
    opened = _say(client.create_payment(order_id))
    if opened is None:
        raise typer.Exit(1)
    say(f"the cashier page (收银台): {opened['cashier_url']}")
    done = _say(client.press(opened["cashier_url"], "give-up" if give_up else "pay"))
    if done:
        _show("the payment", _told(client, opened["pay_id"]))
    raise typer.Exit(done is None)


def _client(home: Path) -> Client:
    return Client(endpoints(home), Reader(Home(home)))


def _say(response: httpx.Response) -> dict[str, Any] | None:
    """Say what was answered; the data of a success."""
    result = Result[Any].model_validate_json(response.text)
    say(f"HTTP {response.status_code} {result.name}: {result.message}")
    return result.data if result.success else None


def _show(title: str, found: httpx.Response) -> None:
    data = found.json()["data"] or {}
    print_table(title, [{"field": key, "value": value} for key, value in data.items()])


def _told(client: Client, pay_id: str) -> httpx.Response:
    """The payment, once the platform has told the shop what became of it, or some time later."""
    deadline = time.monotonic() + _TOLD_SECONDS
    while True:
        found = client.find_payment(pay_id)
        known = found.status_code == 200 and found.json()["data"]["is_paid"] != PaymentState.OPEN
        if known or time.monotonic() > deadline:
            return found
        time.sleep(_POLL_SECONDS)
