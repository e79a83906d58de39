"""The listening sockets of a lab over a reset: what waited is dropped, and the port stays ours."""

import socket
from contextlib import closing

import pytest

from labkit.stack.supervisor import ports
from labkit.stack.supervisor.webs import WebSockets


def test_a_reset_drops_the_requests_that_wait_and_serves_the_next() -> None:
    """Also one whose client has gone; and the socket is the same: nobody could take its port."""
    webs = WebSockets(["console"], {})
    before = webs.urls(), webs.descriptors()
    port = ports.of(webs.urls()["console"])
    waiting = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(ports.BACKLOG // 2)]
    for client in waiting:
        client.sendall(b"GET / HTTP/1.1\r\n")
    waiting.pop().close()
    webs.drop_waiting()
    assert (webs.urls(), webs.descriptors()) == before
    for client in waiting:
        with closing(client), pytest.raises(ConnectionResetError):
            client.recv(1)
    with socket.create_connection(("127.0.0.1", port), 5) as later:
        later.sendall(b"later")
        listener = socket.socket(fileno=socket.dup(webs.descriptors()["console"]))
        with closing(listener):
            connection, _ = listener.accept()
            with closing(connection):
                assert connection.recv(5) == b"later"
