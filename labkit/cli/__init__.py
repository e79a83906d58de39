"""The command line: `labkit`."""

import gc
import signal
import sys


def main() -> None:
    """Run the command line; what people did wrong, or what is away, is one line and exit code 1."""
    gc.disable()  # what is imported is no garbage, and to look for some takes a fifth of the time
    from labkit.cli import (  # noqa: F401
        benching,
        breaking,
        crashing,
        looking,
        ordering,
        reconciling,
        running,
        serving,
        tour,
    )
    from labkit.cli.base import app

    gc.enable()

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup has us ignore one
            signal.signal(number, _end)
    try:
        app()
    except Exception as error:  # what is not ours to mend is told in a line, the rest is raised
        from labkit.cli.errors import in_words

        if (said := in_words(error)) is None:
            raise
        sys.exit(f"labkit: {said}")


def _end(number: int, _frame: object) -> None:
    """End as after Ctrl-C: what was begun is taken down on the way out."""
    sys.exit(128 + number)
