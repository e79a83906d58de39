"""The supervisor's ear: whoever is on this machine can speak into it, and holds up nobody."""

import json
import selectors
import socket
from collections.abc import Iterator

import pytest

from labkit.stack.supervisor.listening import Listener
from labkit.waiting import wait_until

SECRET = "of the home"
TOLD: dict[str, object] = {"secret": SECRET, "command": "ping", "arguments": {}}


class Ear:
    """A listener with its loop, and what was done of what was asked for."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self.done: list[str] = []
        self._selector = selector
        self.listener = Listener(
            selector,
            SECRET,
            {"ping": lambda: self.done.append("ping")},
            {"reset": self._reset, "scale": lambda **wanted: self.done.append(f"scale {wanted}")},
        )

    def _reset(self) -> None:
        raise RuntimeError("there is\nno room")

    def turn(self) -> None:
        """Hear whatever has come."""
        for key, _ in self._selector.select(0.05):
            key.data()
        self.listener.drop_the_slow()

    def connect(self) -> socket.socket:
        """Speak to it."""
        return socket.create_connection(("127.0.0.1", self.listener.port), timeout=10)


@pytest.fixture
def ear() -> Iterator[Ear]:
    with selectors.DefaultSelector() as selector:
        yield Ear(selector)


def answer_to(ear: Ear, *parts: bytes) -> bytes:
    """Return what a client hears that says this, until the connection is closed."""
    with ear.connect() as connection:
        for part in parts:
            connection.sendall(part)
            ear.turn()
        connection.settimeout(0.05)
        heard = b""

        def hung_up() -> bool:
            nonlocal heard
            ear.turn()
            try:
                part = connection.recv(4096)
            except TimeoutError:
                return False
            except ConnectionResetError:  # what was said was not even read
                return True
            heard += part
            return not part

        wait_until(hung_up, "the connection is closed")
    return heard


def test_who_knows_the_secret_is_heard(ear: Ear) -> None:
    """The commands of the home's owner are done and answered, also one that comes in two parts."""
    line = json.dumps(TOLD).encode() + b"\n"
    assert answer_to(ear, line) == b'{"done": true}\n'
    assert answer_to(ear, line[:9], line[9:]) == b'{"done": true}\n'
    assert ear.done == ["ping", "ping"]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(json.dumps(TOLD | {"secret": "é"}).encode(), id="no ASCII"),
        pytest.param(b'{"secret": "\\ud800", "command": "ping"}', id="broken Unicode"),
        pytest.param(json.dumps(TOLD | {"secret": None}).encode(), id="no secret"),
        pytest.param(json.dumps(TOLD | {"command": "shout"}).encode(), id="no command"),
        pytest.param(json.dumps(TOLD | {"arguments": 7}).encode(), id="no arguments"),
        pytest.param(b"[" * 60_000, id="deep"),
        pytest.param(b"[" * 70_000, id="long"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"\xff", id="no text"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_a_stranger_neither_does_anything_nor_ends_the_lab(ear: Ear, line: bytes) -> None:
    """Whatever is said without the secret raises nothing, does nothing and hears nothing."""
    assert answer_to(ear, line + b"\n") == b""
    assert ear.done == []


def test_what_takes_long_waits_for_its_turn(ear: Ear) -> None:
    """A command that takes long is done when nothing else is; what must be heard, is heard."""
    with ear.connect() as long, ear.connect() as short:
        request = TOLD | {"command": "scale", "arguments": {"goods": 2}}
        long.sendall(json.dumps(request).encode() + b"\n")
        ear.turn()
        short.sendall(json.dumps(TOLD).encode() + b"\n")

        def ping_is_done() -> bool:
            ear.turn()
            return ear.done == ["ping"]

        wait_until(ping_is_done, "what need not wait is done")
        ear.listener.run_commands()
        assert ear.done == ["ping", "scale {'goods': 2}"]
        assert long.recv(100) == short.recv(100) == b'{"done": true}\n'


def test_an_error_is_told_in_one_line(ear: Ear) -> None:
    """An error of a command is its answer, and the lab goes on."""
    with ear.connect() as connection:
        connection.sendall(json.dumps(TOLD | {"command": "reset"}).encode() + b"\n")
        ear.turn()
        ear.turn()
        ear.listener.run_commands()
        assert connection.recv(100) == b'{"error": "there is no room"}\n'


def test_who_says_nothing_holds_nobody_up(ear: Ear) -> None:
    """Many connect and say nothing, or half a line: a turn waits for none, and they are dropped."""
    silent = [ear.connect() for _ in range(100)]
    silent[0].sendall(b'{"secret"')
    while len(ear.listener._clients) < 30:
        ear.turn()
    assert answer_to(ear, json.dumps(TOLD).encode() + b"\n") == b'{"done": true}\n'

    def all_dropped() -> bool:
        ear.turn()
        return not ear.listener._clients

    wait_until(all_dropped, "nobody who is silent is listened to any more")
    for connection in silent:
        connection.close()
