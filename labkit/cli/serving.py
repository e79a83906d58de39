"""Commands for a lab whose services somebody else starts: Compose, systemd, Kubernetes.

Their bodies import the services: no other command needs them, and they take longest to load.
"""

from typing import Annotated

import typer

from labkit.cli.base import DEFAULT_HOME, HomeOption, app, say
from labkit.home import Home
from labkit.runtime.rpc.address import LOOPBACK, Address
from labkit.settings import Settings


@app.command()
def init(home: HomeOption = DEFAULT_HOME) -> None:
    """Make what services need that `labkit serve` starts: schemas, first data, keys, topics.

    The settings name MySQL, Kafka, ZooKeeper, the pay web and the platform. What is there stays.

    Example: `labkit init`
    """
    from labkit.stack.supervisor import standalone

    place = Home(home)
    standalone.init(place, Settings())
    say(f"services can be started: labkit serve SERVICE {place.option}")


@app.command()
def serve(
    service: Annotated[str, typer.Argument(help="As order, or pay-web.")],
    home: HomeOption = DEFAULT_HOME,
    listen: Annotated[
        str, typer.Option(help="HOST:PORT to listen on; port 0 is any.")
    ] = LOOPBACK.listen,
    known_as: Annotated[
        str, typer.Option(help="HOST:PORT by which others reach it, if that is another.")
    ] = LOOPBACK.known_as,
    instance: Annotated[
        int, typer.Option(min=0, help="Which one of its kind; 0: the first free in this home.")
    ] = 0,
) -> None:
    """Run one instance of a service here, until it is told to stop. `labkit init` comes first.

    Example: `labkit serve order --listen 0.0.0.0:7000`
    """
    from labkit.stack.supervisor import standalone

    standalone.serve(Home(home), service, instance, Address(listen, known_as))
