"""Manual operations for a notebook, as the buttons of the operator console are."""

from html import escape

from labkit.home import Home
from labkit.ops.drive import ManualAction, drive_now
from labkit.stack.supervisor import launch


class ManualOperations:
    """Actions on a stuck item; `lab.stuck(raw=True)` gives the ids.

    Each returns its result in a line.

    Args:
        home: of the lab.
    """

    def __init__(self, home: Home) -> None:
        self._home = home

    def retry(self, id: str) -> str:
        """Try a stuck item now.

        Raises:
            RuntimeError: it failed again; says why.
        """
        return self._drive(ManualAction.RETRY, id)

    def give_up(self, id: str) -> str:
        """Make an item a dead letter: it is tried no more, and keeps its cause.

        Raises:
            RuntimeError: that is not possible; says why.
        """
        return self._drive(ManualAction.GIVE_UP, id)

    def take_back(self, id: str) -> str:
        """Take a dead letter back: it is retried automatically, with all its tries.

        Raises:
            RuntimeError: that is not possible; says why.
        """
        return self._drive(ManualAction.TAKE_BACK, id)

    def _drive(self, action: ManualAction, id: str) -> str:
        result = drive_now(self._home, action, id)
        if not result.success:
            raise RuntimeError(f"{result.message}; see: lab.stuck()")
        return result.message


class ConsoleLink(str):
    """The address of the operator console, with its token; in a notebook a link to open it."""

    @classmethod
    def of(cls, home: Home) -> "ConsoleLink":
        """Return the link of the lab that is up in a home; empty where it has no console."""
        return cls(launch.status(home)["endpoints"]["console"] or "")

    def _repr_html_(self) -> str:
        return f'<a href="{escape(self)}" target="_blank" rel="noopener">operator console</a>'
