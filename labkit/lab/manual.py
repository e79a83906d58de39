"""The buttons of the operator console for a notebook: drive one stuck thing by hand."""

from html import escape
from typing import Any

from labkit.home import Home
from labkit.ops import drive
from labkit.stack.supervisor import launch


class ManualOperations:
    """What a person does with something stuck; `lab.stuck(raw=True)` gives the ids.

    Each answers with what came of it, in a line.

    Args:
        home: of the lab.
    """

    def __init__(self, home: Home) -> None:
        self._home = home

    def retry(self, id: str) -> str:
        """Try it now.

        Raises:
            RuntimeError: it failed again; says why.
        """
        return self._drive(drive.RETRY, id)

    def give_up(self, id: str) -> str:
        """Make it a dead letter: it is tried no more, and keeps its cause.

        Raises:
            RuntimeError: it cannot be; says why.
        """
        return self._drive(drive.GIVE_UP, id)

    def take_back(self, id: str) -> str:
        """Have a dead letter tried again by itself, with all its tries before it.

        Raises:
            RuntimeError: it cannot be; says why.
        """
        return self._drive(drive.TAKE_BACK, id)

    def _drive(self, verb: str, id: str) -> str:
        told: Any = drive.drive_now(self._home, verb, id)
        if not told.success:
            raise RuntimeError(f"{told.message}; see: lab.stuck()")
        return str(told.message)


class ConsoleLink(str):
    """The address of the operator console, with its token; in a notebook a link to open it."""

    @classmethod
    def of(cls, home: Home) -> "ConsoleLink":
        """Of the lab that is up in a home; empty where it has none."""
        return cls(launch.status(home)["endpoints"]["console"] or "")

    def _repr_html_(self) -> str:
        return f'<a href="{escape(self)}" target="_blank" rel="noopener">operator console</a>'
