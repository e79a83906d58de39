"""Commands that start and stop a lab."""

from typing import Annotated

import typer
from sqlalchemy import make_url

from labkit.cli.base import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    app,
    mend_left_over,
    print_json,
    print_table,
    running,
    say,
    working,
)
from labkit.home import Home
from labkit.printable import printable
from labkit.runtime.injection.failpoints import FailpointStore
from labkit.stack.setup.backends import Stack, choose, remove
from labkit.stack.setup.seeds import MANY, MUCH
from labkit.stack.supervisor import control, health, launch
from labkit.stack.supervisor.folders import warning_for
from labkit.stack.supervisor.instances import parse_instances

#: A lab that is up is asked for so long whether all of it answers.
_STILL_S = 15.0


@app.command()
def up(
    home: HomeOption = DEFAULT_HOME,
    stack: Annotated[
        Stack, typer.Option(help="The ground to stand on.", envvar="LABKIT_STACK")
    ] = Stack.auto,
    instances: Annotated[
        str, typer.Option(help="How many of a service: goods=2,user=2. One of each if not said.")
    ] = "",
) -> None:
    """Start everything, and return when it is ready. It stays up until `labkit down`.

    Example: `labkit up --instances goods=2`
    """
    place = Home(home)
    if text := warning_for(place.folder):
        typer.echo(f"labkit: warning: {printable(text)}", err=True)
    with working("starting") as tell:
        ground = launch.EMBEDDED if launch.is_up(place) else choose(stack, tell)
        started = launch.up(place, parse_instances(instances), ground, on_progress=tell)
    mend_left_over(place)
    if not started:  # else it was asked already
        with working("asking whether all of it answers") as tell:
            health.await_whole(place, tell, _STILL_S)
    state = launch.status(place)
    ends = state["endpoints"]
    what = "the lab is up" if started else "the lab is up already"
    why = f" ({ground.reason})" if started and ground.reason else ""
    say(
        f"{what}: {state['stack']} stack{why}, order web at {ends['order-web']},"
        f" pay web at {ends['pay-web']}, payment platform at {ends['platform']}"
    )
    say(f"operator console, for you alone: {ends['console']}")


@app.command()
def down(
    home: HomeOption = DEFAULT_HOME,
    containers: Annotated[
        bool, typer.Option("--containers", help="The containers too, for all labs on them.")
    ] = False,
    volumes: Annotated[
        bool, typer.Option("--volumes", help="With --containers: and all that they hold.")
    ] = False,
) -> None:
    """Stop everything. The data stays in the home, or in the containers' volumes.

    Example: `labkit down`
    """
    if volumes and not containers:
        raise ValueError("--volumes goes with --containers: it removes what the containers hold")
    was_up = launch.down(Home(home), say)
    say("the lab is down" if was_up else "no lab was up")
    if containers:
        gone = remove(volumes=volumes)
        say(f"removed: {', '.join(gone)}" if gone else "there was no container of ours")


@app.command()
def scale(
    instances: Annotated[list[str], typer.Argument(help="How many of a service: goods=2 user=1.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Start more processes of a service, or have the last ones finish and go.

    Example: `labkit scale goods=2`
    """
    numbers = parse_instances(",".join(instances))
    place = running(home)
    with working("scaling") as progress:
        control.tell(place, "scale", progress, **numbers)
    say(", ".join(f"{name} has {number}" for name, number in numbers.items()))


@app.command()
def status(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Say what runs and answers now: processes, endpoints, databases, and what is broken.

    Example: `labkit status --json`
    """
    place = Home(home)
    mend_left_over(place)
    state, troubles = health.status(place)
    if as_json:
        return print_json(state)
    if not state["services"]:
        return say(f"nothing ran in {state['home']} yet: labkit up")
    print_table("processes", state["services"])
    for trouble in troubles:
        say(trouble)
    ends = {name: where for name, where in state["endpoints"].items() if where}
    opened = ends.pop("console", None)
    print_table("endpoints", [{"what": name, "where": where} for name, where in ends.items()])
    data = [
        {"database": name, "url": repr(make_url(url))}  # without the password
        for name, url in state["databases"].items()
        if url
    ]
    print_table("databases", data)
    if any(place.standing.glob("*.json")) or FailpointStore(place.faults).armed():
        from labkit.faults import list_standing  # it takes long to load, and is seldom needed

        print_table("broken on purpose", list_standing(place))
        say("labkit fault --clear ends all of it")
    return say(f"operator console, for you alone: {opened}") if opened else None


@app.command()
def reset(
    home: HomeOption = DEFAULT_HOME,
    goods: Annotated[int | None, typer.Option(min=1, max=MANY, help="Kinds of goods.")] = None,
    users: Annotated[int | None, typer.Option(min=1, max=MANY, help="Users.")] = None,
    stock: Annotated[int | None, typer.Option(min=0, max=MUCH, help="Pieces of each.")] = None,
    balance: Annotated[int | None, typer.Option(min=0, max=MUCH, help="Cents each.")] = None,
    coupons: Annotated[int | None, typer.Option(min=0, max=MANY, help="Coupons.")] = None,
) -> None:
    """Put the first data back, or as much as is asked for; clear faults and the lab clock.

    Seeded goods, users and coupons have ids that count from 1.

    Example: `labkit reset --users 100 --coupons 100`
    """
    place = running(home)
    with working("starting afresh") as progress:
        control.tell(
            place,
            "reset",
            progress,
            goods=goods,
            users=users,
            stock=stock,
            balance=balance,
            coupons=coupons,
        )
    say("the first data is back")
