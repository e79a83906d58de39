"""Private names of libraries that the runtime uses: each is still there, and does what it did.

When one of these fails, a library was changed: look at the file that is named, and check it anew.
"""

import inspect
import socket

import pymysql
import pytest
from kazoo.client import KazooClient
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.protocol.connection import ConnectionHandler
from sqlalchemy import bindparam, select
from sqlalchemy.dialects import sqlite

from labkit.runtime.db.read_timeout import read_timeout, set_read_timeout
from labkit.runtime.db.tables import operation


def test_the_read_timeout_of_pymysql() -> None:
    """A statement on a connection whose server is silent ends after the time that was set last:
    see `labkit.runtime.db.read_timeout`."""
    ours, server = socket.socketpair()
    connection = pymysql.Connection(defer_connect=True, read_timeout=60)
    connection._sock, connection._rfile = ours, ours.makefile("rb")
    connection._current_timeout = 60  # as after connecting
    set_read_timeout(connection, 30.0)
    with read_timeout(connection, 0.05), pytest.raises(pymysql.OperationalError, match="timed out"):
        connection._read_packet()
    assert connection._read_timeout == 30.0
    for end in (ours, server):
        end.close()


def test_the_order_of_parameters_in_sqlalchemy() -> None:
    """A compiled statement names its parameters in the order of their places: see
    `labkit.runtime.db.compiled`."""
    values = operation.c.order_id == bindparam("b"), operation.c.operation == bindparam("a")
    compiled = select(operation.c.amount).where(*values).compile(dialect=sqlite.dialect())
    assert compiled.positiontup == ["b", "a"]


def test_what_kazoo_tells_a_server_when_it_connects() -> None:
    """It sends the last change that it has seen, and opens each connection by the handler: see
    `labkit.runtime.registry.zookeeper_session`."""
    assert "client.last_zxid" in inspect.getsource(ConnectionHandler._connect)
    assert "handler.create_connection" in inspect.getsource(ConnectionHandler)
    assert hasattr(KazooClient("127.0.0.1:1"), "last_zxid")
    parameters = inspect.signature(SequentialThreadingHandler.create_connection).parameters
    assert "kwargs" in parameters
