"""The command that shows it all once."""

from labkit.cli.base import app


@app.command()
def tour() -> None:
    """See it all once: an order, one that fails and is given back, and the payment of the first.

    It runs in a home of its own, and leaves nothing behind.

    Example: `labkit tour`
    """
    from labkit.cli import walk

    walk.take()
