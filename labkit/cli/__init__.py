"""The command line: `labkit`."""

import sys

from labkit.cli.base import app
from labkit.stack.control import NotUp


def main() -> None:
    """Run the command line; what people did wrong, or what is away, is one line and exit code 1."""
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

    try:
        app()
    except (NotUp, RuntimeError, ValueError, OSError) as error:
        sys.exit(f"labkit: {error}")
