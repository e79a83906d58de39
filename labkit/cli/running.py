"""Commands that start and stop a lab."""

from typing import Annotated

import typer

from labkit.cli.base import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    app,
    echo,
    mend_abandoned,
    print_json,
    print_table,
    running_home,
    show_progress,
)
from labkit.home import Home
from labkit.printable import printable
from labkit.runtime.injection.failpoints import FailpointStore
from labkit.stack.migrations import revises
from labkit.stack.setup.amounts import MANY, MUCH
from labkit.stack.setup.backends import Stack, choose, remove
from labkit.stack.supervisor import control, launch
from labkit.stack.supervisor.folders import warning_for
from labkit.stack.supervisor.instances import parse_instances

#: Seconds to wait until all of a lab answers that is up already.
_WHOLE_S = 15.0


@app.command()
def up(
    folder: HomeOption = DEFAULT_HOME,
    stack: Annotated[
        Stack, typer.Option(help="Stack to run on.", envvar="LABKIT_STACK")
    ] = Stack.auto,
    instances: Annotated[
        str, typer.Option(help="Instances of services: goods=2,user=2. Defaults to one of each.")
    ] = "",
) -> None:
    """Start everything, and return when it is ready. It stays up until `labkit down`.

    Example: `labkit up --instances goods=2`
    """
    home = Home(folder)
    if text := warning_for(home.folder):
        typer.echo(f"labkit: warning: {printable(text)}", err=True)
    if revises():  # this release changes the databases of the one before
        from labkit.stack.releases import schema  # it opens them, which takes long to import

        for line in schema.plan_of(home) if home.filled() and not launch.is_up(home) else ():
            echo(line)
    with show_progress("starting") as on_progress:
        backends = launch.EMBEDDED if launch.is_up(home) else choose(stack, on_progress)
        started = launch.up(home, parse_instances(instances), backends, on_progress=on_progress)
    mend_abandoned(home)
    if not started:  # else `launch.up` has waited already
        from labkit.stack.supervisor import health  # each of these takes long to import

        with show_progress("asking whether all of it answers") as on_progress:
            health.await_whole(home, on_progress, _WHOLE_S)
    state = launch.status(home)
    endpoints = state["endpoints"]
    news = "the lab is up" if started else "the lab is up already"
    reason = f" ({backends.reason})" if started and backends.reason else ""
    echo(
        f"{news}: {state['stack']} stack{reason}, order web at {endpoints['order-web']},"
        f" pay web at {endpoints['pay-web']}, payment platform at {endpoints['platform']}"
    )
    echo(f"operator console, for you alone: {endpoints['console']}")


@app.command()
def down(
    folder: HomeOption = DEFAULT_HOME,
    containers: Annotated[
        bool, typer.Option("--containers", help="Remove the containers too, for all labs on them.")
    ] = False,
    volumes: Annotated[
        bool, typer.Option("--volumes", help="With --containers: remove all their data too.")
    ] = False,
) -> None:
    """Stop everything. The data stays in the home, or in the containers' volumes.

    Example: `labkit down`
    """
    if volumes and not containers:
        raise ValueError("--volumes goes with --containers: it removes what the containers hold")
    was_up = launch.down(Home(folder), echo)
    echo("the lab is down" if was_up else "no lab was up")
    if containers:
        names = remove(volumes=volumes)
        echo(f"removed: {', '.join(names)}" if names else "there was no container of ours")


@app.command()
def scale(
    instances: Annotated[list[str], typer.Argument(help="Instances of services: goods=2 user=1.")],
    folder: HomeOption = DEFAULT_HOME,
) -> None:
    """Start more processes of a service, or let the last ones finish and leave.

    Example: `labkit scale goods=2`
    """
    numbers = parse_instances(",".join(instances))
    home = running_home(folder)
    with show_progress("scaling") as on_progress:
        control.tell(home, "scale", on_progress, **numbers)
    echo(", ".join(f"{name} has {number}" for name, number in numbers.items()))


@app.command()
def status(folder: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Show what runs and answers now: processes, endpoints, databases, and what is broken.

    Example: `labkit status --json`
    """
    from labkit.stack.supervisor import health

    home = Home(folder)
    mend_abandoned(home)
    state, problems = health.status(home)
    if as_json:
        return print_json(state)
    if not state["services"]:
        return echo(f"nothing ran in {state['home']} yet: labkit up")
    print_table("processes", state["services"])
    for problem in problems:
        echo(problem)
    endpoints = {name: url for name, url in state["endpoints"].items() if url}
    console_url = endpoints.pop("console", None)
    print_table("endpoints", [{"what": name, "where": url} for name, url in endpoints.items()])
    from sqlalchemy import make_url

    databases = [
        {"database": name, "url": repr(make_url(url))}  # without the password
        for name, url in state["databases"].items()
        if url
    ]
    print_table("databases", databases)
    if any(home.standing.glob("*.json")) or FailpointStore(home.faults).armed():
        from labkit.faults import list_standing  # it takes long to load, and is seldom needed

        print_table("broken on purpose", list_standing(home))
        echo("labkit fault --clear ends all of it")
    return echo(f"operator console, for you alone: {console_url}") if console_url else None


@app.command()
def reset(
    folder: HomeOption = DEFAULT_HOME,
    goods: Annotated[
        int | None, typer.Option(min=1, max=MANY, help="Number of kinds of goods.")
    ] = None,
    users: Annotated[int | None, typer.Option(min=1, max=MANY, help="Number of users.")] = None,
    stock: Annotated[
        int | None, typer.Option(min=0, max=MUCH, help="Pieces of each kind of goods.")
    ] = None,
    balance: Annotated[
        int | None, typer.Option(min=0, max=MUCH, help="Cents of each user.")
    ] = None,
    coupons: Annotated[int | None, typer.Option(min=0, max=MANY, help="Number of coupons.")] = None,
) -> None:
    """Put the first data back, or the given amount; clear faults and the lab clock.

    Seeded goods, users and coupons have ids that count from 1.

    Example: `labkit reset --users 100 --coupons 100`
    """
    home = running_home(folder)
    with show_progress("starting afresh") as on_progress:
        control.tell(
            home,
            "reset",
            on_progress,
            goods=goods,
            users=users,
            stock=stock,
            balance=balance,
            coupons=coupons,
        )
    echo("the first data is back")
