"""The command line: `labkit`."""

import gc
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
    from labkit.stack.control import NotUp

    gc.enable()

    try:
        app()
    except (NotUp, RuntimeError, ValueError, OSError) as error:
        sys.exit(f"labkit: {_in_words(error)}")


def _in_words(error: Exception) -> str:
    from labkit.home import is_no_room

    if is_no_room(error):
        return f"the disk is full, nothing was changed ({error}): make room and do it again"
    return str(error)
