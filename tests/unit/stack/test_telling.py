"""Commands to the supervisor: the secret goes to a living one alone."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labkit.home import Home
from labkit.stack.supervisor import control, holder, spawn
from labkit.stack.supervisor.control import NotUp
from tests.support.states import state_in_json


@contextmanager
def listening() -> Iterator[tuple[int, list[bytes]]]:
    """Listen where a supervisor may have listened; gives the port, and the lines that came."""
    lines: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    lines.append(connection.recv(4096))
                    connection.sendall(b'{"done": true}\n')

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1], lines
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def written(home: Home, port: int, birth: str | None) -> None:
    """Write the state of a supervisor that has this process's pid."""
    home.state_file.write_text(
        state_in_json(control=port, supervisor=os.getpid(), supervisor_birth=birth)
    )


def test_whoever_listens_at_a_stale_port_hears_no_secret(tmp_path: Path) -> None:
    """The supervisor is dead and its port is another program's: nobody connects to it."""
    home = Home(tmp_path / "home").make()
    with listening() as (port, lines):
        written(home, port, "an earlier boot/1")
        with pytest.raises(NotUp, match="start one with"):
            control.tell(home, "ping")
        with home.lock_file.open("w") as lock:  # another supervisor is just coming up
            holder.sign(lock.fileno(), os.getpid())
        with pytest.raises(NotUp, match="comes up or goes down"):
            control.tell(home, "ping")
        assert lines == []
        written(home, port, spawn.birth(os.getpid()))
        control.tell(home, "ping")
    assert home.secret.encode() in lines[0]


def test_a_hint_can_be_copied_into_a_shell(tmp_path: Path) -> None:
    """A home with a space in its name is quoted."""
    home = Home(tmp_path / "my lab").make()
    with pytest.raises(NotUp, match=f"labkit up --home '{home.folder}'"):
        control.tell(home, "ping")
