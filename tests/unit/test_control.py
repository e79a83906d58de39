"""The supervisor's ear: whoever is on this machine can speak into it."""

import json
import socket
import threading
import time
from collections.abc import Callable

import pytest

from labkit.stack import control

SECRET = "of the home"
TOLD: dict[str, object] = {"secret": SECRET, "command": "ping", "arguments": {}}


def answered(speak: Callable[[socket.socket], object]) -> tuple[bytes, int]:
    """What somebody hears who speaks, and how often that was done which was asked for."""
    ours, theirs = socket.socketpair()
    done: list[int] = []
    with theirs:
        with ours:
            speaker = threading.Thread(target=speak, args=(theirs,), daemon=True)
            speaker.start()
            control.answer(ours, SECRET, {"ping": lambda: done.append(1)})
        return theirs.recv(4096), len(done)


def say(line: bytes) -> Callable[[socket.socket], object]:
    """Say one line."""
    return lambda theirs: theirs.sendall(line + b"\n")


def test_who_knows_the_secret_is_heard() -> None:
    """The commands of the home's owner are done and answered, also one that comes in two parts."""
    line = json.dumps(TOLD).encode()

    def in_two_parts(theirs: socket.socket) -> None:
        theirs.sendall(line[:9])
        theirs.sendall(line[9:] + b"\n")

    assert answered(say(line)) == (b'{"done": true}\n', 1)
    assert answered(in_two_parts) == (b'{"done": true}\n', 1)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(json.dumps(TOLD | {"secret": "é"}).encode(), id="no ASCII"),
        pytest.param(b'{"secret": "\\ud800", "command": "ping"}', id="broken Unicode"),
        pytest.param(json.dumps(TOLD | {"secret": None}).encode(), id="no secret"),
        pytest.param(b"[" * 60_000, id="deep"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"\xff", id="no text"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_a_stranger_neither_does_anything_nor_ends_the_lab(line: bytes) -> None:
    """Whatever is said without the secret raises nothing, does nothing and hears nothing."""
    assert answered(say(line)) == (b"", 0)


def test_who_speaks_drop_by_drop_does_not_hold_the_lab_up() -> None:
    """A line has two seconds in all: meanwhile nobody starts a service again that has died."""

    def drip(theirs: socket.socket) -> None:
        try:
            while True:
                theirs.sendall(b"x")
                time.sleep(0.2)
        except OSError:
            return

    began = time.monotonic()
    assert answered(drip) == (b"", 0)
    assert time.monotonic() - began < 4
