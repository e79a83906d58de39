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
    "simulating": ("sim",),
    "tour": ("tour",),
    "upgrading": ("upgrade",),
}


def main() -> None:
    """Run the command line; report any error in a line or two, with exit code 1."""
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
            sys.stdout.flush()  # so that an error of it is reported here, and not by Python
    except Exception as error:
        from labkit.cli.errors import report

        sys.exit(report(error))


def _open_standard_files() -> None:
    """Open a file for each of the standard streams that the caller has closed.

    Else the next file that is opened takes its number, and gets the text that was meant for people.
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
    """Import the module of a command, or all modules for the help or an unknown command."""
    modules = [module for module, commands in COMMANDS.items() if command in commands]
    for module in modules or COMMANDS:
        import_module(f"labkit.cli.{module}")


def _end(number: int, _frame: object) -> None:
    """End as after Ctrl-C: each block that is open cleans up on the way out."""
    sys.exit(128 + number)
