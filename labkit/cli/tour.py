"""The command that shows the whole lesson once."""

from labkit.cli.base import app


@app.command()
def tour() -> None:
    """Show it all once: an order, one that fails and is given back, and the payment of the first.

    It runs in a home of its own, and leaves nothing behind.

    Example: `labkit tour`
    """
    from labkit.cli import walk

    walk.take()
