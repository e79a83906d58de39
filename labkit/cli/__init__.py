"""The command line: `labkit`."""

import gc
import signal
import sys
from importlib import import_module

#: Module → its commands, in the order in which the help lists them.
COMMANDS = {
    "benching": ("replay", "bench"),
    "breaking": ("failpoints", "fault", "lose-broker", "break"),
    "crashing": ("matrix",),
    "looking": ("tables", "check", "settle", "stuck", "retry", "give-up", "take-back", "logs"),
    "ordering": ("order", "pay"),
    "reconciling": ("reconcile",),
    "running": ("up", "down", "scale", "status", "reset"),
    "serving": ("init", "serve"),
    "tour": ("tour",),
}


def main() -> None:
    """Run the command line; what people did wrong, or what is away, is one line and exit code 1."""
    gc.disable()  # what is imported is no garbage, and to look for some takes a fifth of the time
    from labkit.cli.base import app

    load(*sys.argv[1:2])
    gc.freeze()
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


def load(command: str = "") -> None:
    """Import the module of a command, or all where none has such a command: the help lists all."""
    named = [module for module, commands in COMMANDS.items() if command in commands]
    for module in named or COMMANDS:
        import_module(f"labkit.cli.{module}")


def _end(number: int, _frame: object) -> None:
    """End as after Ctrl-C: what was begun is taken down on the way out."""
    sys.exit(128 + number)
