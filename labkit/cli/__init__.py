"""The command line: `labkit`."""

import gc
import os
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
    """Run the command line; whatever fails is told in a line or two, and the exit code is 1."""
    gc.disable()  # what is imported is no garbage, and to look for some takes a fifth of the time
    _open_standard_files()
    from labkit.cli.base import app

    load(*sys.argv[1:2])
    gc.freeze()
    gc.enable()

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup has us ignore one
            signal.signal(number, _end)
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # what cannot be written is told here, and not by Python at its end
    except Exception as error:
        from labkit.cli.errors import tell

        sys.exit(tell(error))


def _open_standard_files() -> None:
    """Have a file behind each of the standard streams, also where the caller has closed one.

    Else the next file that is opened takes its number, and is written what was meant for people.
    """
    for number, mode in ((0, "r"), (1, "w"), (2, "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
    sys.stdin = sys.stdin or open(0)  # noqa: SIM115  # it stays open
    sys.stdout = sys.stdout or open(1, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w")  # noqa: SIM115


def load(command: str = "") -> None:
    """Import the module of a command, or all where none has such a command: the help lists all."""
    named = [module for module, commands in COMMANDS.items() if command in commands]
    for module in named or COMMANDS:
        import_module(f"labkit.cli.{module}")


def _end(number: int, _frame: object) -> None:
    """End as after Ctrl-C: what was begun is taken down on the way out."""
    sys.exit(128 + number)
