"""The command that takes services to another release."""

from typing import Annotated

import typer

from labkit.cli.base import DEFAULT_HOME, HomeOption, app, echo, running_home
from labkit.stack.releases import rolling
from labkit.stack.releases.unpack import find


@app.command()
def upgrade(
    to: Annotated[str, typer.Option("--to", help="Number of the release, or its folder.")],
    services: Annotated[
        list[str] | None, typer.Argument(help="Services to take there. Defaults to all.")
    ] = None,
    contract: Annotated[
        bool,
        typer.Option("--contract", help="Then drop what only earlier releases use: no way back."),
    ] = False,
    folder: HomeOption = DEFAULT_HOME,
) -> None:
    """Take services to another release, process by process, while they work; or back again.

    Example: `labkit upgrade --to 1.1`
    """
    home = running_home(folder)
    release = find(home, to)
    rolling.upgrade(home, release, echo, services or (), contract=contract)
    echo(f"{', '.join(services or ['all services'])}: release {release.number}")
