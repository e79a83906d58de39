"""The commands of a client of the shop: order, and pay."""

from pathlib import Path
from typing import Annotated

import httpx
import typer

from labkit.cli.base import DEFAULT_HOME, HomeOption, app, echo, endpoints_of, print_table
from labkit.home import Home
from labkit.lab.client import Client, OrderFields
from labkit.ops.reader import Reader
from labkit.results import Result
from labkit.shop.states import PaymentState
from labkit.waiting import poll_until

_NOTICE_S = 3.0
_POLL_S = 0.05


@app.command()
def order(
    folder: HomeOption = DEFAULT_HOME,
    number: Annotated[int, typer.Option(help="Number of pieces.")] = 1,
    balance: Annotated[int, typer.Option(help="Cents to pay from the balance.")] = 0,
    coupon: Annotated[bool, typer.Option("--coupon", help="Use the user's first coupon.")] = False,
    user: Annotated[int | None, typer.Option(help="User id. Defaults to the first user.")] = None,
    goods: Annotated[
        int | None, typer.Option(help="Goods id. Defaults to the first goods.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Idempotency key of the request.")] = None,
) -> None:
    """Place an order (下单) over HTTP, and show the order. Exit code 1 when it is refused.

    Example: `labkit order --number 2 --balance 10000 --coupon`
    """
    client = _client(folder)
    body: OrderFields = {"goods_number": number, "money_paid": balance, "coupon": coupon}
    if user is not None:
        body["user_id"] = user
    if goods is not None:
        body["goods_id"] = goods
    response = client.place(client.body(**body), key)
    data = _echo_result(response)
    if data:
        _show("the order", client.find(str(data["order_id"])))
    raise typer.Exit(data is None)


@app.command()
def pay(
    order_id: Annotated[int, typer.Argument(help="Id of an order that is placed and not paid.")],
    folder: HomeOption = DEFAULT_HOME,
    give_up: Annotated[
        bool, typer.Option("--give-up", help="Give up on the cashier page instead of paying.")
    ] = False,
) -> None:
    """Pay for an order (支付): open its payment, press the button of the cashier page, show it.

    Exit code 1 when the shop or the platform refuses.

    Example: `labkit pay 383026413512351744`
    """
    client = _client(folder)
    opened = _echo_result(client.create_payment(order_id))
    if opened is None:
        raise typer.Exit(1)
    cashier_url = str(opened["cashier_url"])
    echo(f"the cashier page (收银台): {cashier_url}")
    done = _echo_result(client.press(cashier_url, "give-up" if give_up else "pay"))
    if done:
        _show("the payment", _await_payment(client, str(opened["pay_id"])))
    raise typer.Exit(done is None)


def _client(folder: Path) -> Client:
    return Client(endpoints_of(folder), Reader(Home(folder)))


def _echo_result(response: httpx.Response) -> dict[str, object] | None:
    """Print the result; return the data of a success."""
    result = Result[dict[str, object]].model_validate_json(response.text)
    echo(f"HTTP {response.status_code} {result.name}: {result.message}")
    return result.data if result.success else None


def _show(title: str, response: httpx.Response) -> None:
    data = response.json()["data"] or {}
    print_table(title, [{"field": key, "value": value} for key, value in data.items()])


def _await_payment(client: Client, pay_id: str) -> httpx.Response:
    """Find a payment; wait a while for the platform to notify the shop of its end."""
    response = client.find_payment(pay_id)

    def has_ended() -> bool:
        nonlocal response
        response = client.find_payment(pay_id)
        return (
            response.status_code == 200 and response.json()["data"]["is_paid"] != PaymentState.OPEN
        )

    poll_until(has_ended, _NOTICE_S, _POLL_S)
    return response
