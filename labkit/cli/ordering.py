"""The command that does what a client does: order."""

from typing import Annotated, Any

import typer

from labkit.cli.base import DEFAULT_HOME, HomeOption, app, print_table, running, say
from labkit.lab.client import Client
from labkit.lab.data import Reader
from labkit.results import Result
from labkit.stack import launch


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
    place = running(home)
    client = Client(launch.status(place)["endpoints"]["order-web"], Reader(place))
    wanted: dict[str, Any] = {"goods_number": number, "money_paid": balance, "coupon": coupon}
    if user is not None:
        wanted["user_id"] = user
    if goods is not None:
        wanted["goods_id"] = goods
    response = client.place(client.body(**wanted), key)
    result = Result[Any].model_validate_json(response.text)
    say(f"HTTP {response.status_code} {result.name}: {result.message}")
    if result.success and result.data:
        found = client.find(result.data["order_id"]).json()["data"]
        print_table("the order", [{"field": key, "value": value} for key, value in found.items()])
    raise typer.Exit(not result.success)
