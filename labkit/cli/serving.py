"""Commands for a lab whose services somebody else starts: Compose, systemd, Kubernetes.

Their bodies import the services: no other command needs them, and they take longest to load.
"""

from typing import Annotated

import typer

from labkit.cli.base import DEFAULT_HOME, HomeOption, app, echo
from labkit.home import Home
from labkit.runtime.rpc.address import LOOPBACK, Address
from labkit.settings import Settings


@app.command()
def init(folder: HomeOption = DEFAULT_HOME) -> None:
    """Make what the services of `labkit serve` need: schemas, first data, keys, topics.

    The settings name MySQL, Kafka, ZooKeeper, the pay web and the platform. What is there stays.

    Example: `labkit init`
    """
    from labkit.stack.supervisor import standalone

    home = Home(folder)
    standalone.init(home, Settings())
    echo(f"services can be started: labkit serve SERVICE {home.option}")


@app.command()
def serve(
    service: Annotated[str, typer.Argument(help="Name of the service, such as order or pay-web.")],
    folder: HomeOption = DEFAULT_HOME,
    listen: Annotated[
        str, typer.Option(help="HOST:PORT to listen on. Port 0 is any free one.")
    ] = LOOPBACK.listen,
    known_as: Annotated[
        str, typer.Option(help="HOST:PORT by which others reach it. Defaults to the listening one.")
    ] = LOOPBACK.known_as,
    instance: Annotated[
        int, typer.Option(min=0, help="Number of the instance. 0 is the first free in this home.")
    ] = 0,
) -> None:
    """Run one instance of a service here, until it is stopped. Run `labkit init` first.

    Example: `labkit serve order --listen 0.0.0.0:7000`
    """
    from labkit.stack.supervisor import standalone

    standalone.serve(Home(folder), service, instance, Address(listen, known_as))
