"""The events that wake the supervisor: signals, commands, and the end of its standard input."""

import os
import selectors
import signal
import socket
from collections.abc import Callable

from labkit.stack.supervisor.listening import Commands, Listener


class Wakeups:
    """The selector's loop of the supervisor, which has one thread and waits for nobody in it.

    Args:
        secret: of the home; commands come with it.
        at_once: commands that are done as soon as they are heard.
        in_turn: commands that wait until `run_commands`, one after the other.
        on_stop: called when the supervisor is to stop.
        ends_with_stdin: whether the end of standard input means to stop (a notebook's lab).
    """

    def __init__(
        self,
        secret: str,
        at_once: Commands,
        in_turn: Commands,
        on_stop: Callable[[], None],
        *,
        ends_with_stdin: bool,
    ) -> None:
        self._on_stop = on_stop
        self._signals, self._from_signals = socket.socketpair()
        for end in (self._signals, self._from_signals):
            end.setblocking(False)
        signal.set_wakeup_fd(self._from_signals.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)
        self._selector = selectors.DefaultSelector()
        self._listener = Listener(self._selector, secret, at_once, in_turn)
        self._selector.register(self._signals, selectors.EVENT_READ, self._drain)
        if ends_with_stdin:
            self._selector.register(0, selectors.EVENT_READ, self._read_stdin)

    @property
    def port(self) -> int:
        """Return the port for commands."""
        return self._listener.port

    def wait(self, seconds: float) -> None:
        """Wait for the next event, so many seconds at most, and handle all that came."""
        for key, _ in self._selector.select(seconds):
            key.data()
        self._listener.drop_the_slow()

    def run_commands(self) -> None:
        """Do the commands that wait for their turn."""
        self._listener.run_commands()

    def _note(self, number: int, _frame: object) -> None:
        if number != signal.SIGCHLD:
            self._on_stop()

    def _drain(self) -> None:
        self._signals.recv(1024)

    def _read_stdin(self) -> None:
        if not os.read(0, 1024):
            self._on_stop()
