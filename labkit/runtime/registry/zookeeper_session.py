"""A session with ZooKeeper, and the one thread of a process that works with it.

A connection makes threads: it is opened after a fork, never before. kazoo's own threads only wake
ours; every wait for an answer happens in ours, so that neither kazoo nor the event loop ever waits.

Two private doors of kazoo are used, checked on kazoo 2.11: `KazooClient.last_zxid` and
`SequentialThreadingHandler.create_connection`.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from kazoo.client import KazooClient
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.protocol.states import KazooState

from labkit.runtime import critical
from labkit.runtime.injection import outages

log = logging.getLogger(__name__)

#: After this silence ZooKeeper takes a process for dead, and what it had there is gone.
SESSION_S = 4.0
#: Without these kazoo would wait longer and longer, up to an hour, while ZooKeeper is away.
_RETRY = {"max_tries": -1, "delay": 0.05, "max_delay": 0.5}
_RETRY_S = 0.2
_PROBE_S = 1.0
_COMPLAIN_S = 10.0
#: kazoo logs every try to connect; we log when something has changed.
_QUIET = logging.getLogger("kazoo.quiet")
_QUIET.setLevel(logging.CRITICAL)

#: kazoo has no types: an answer to come, which `get` waits for, and the answer itself.
Promise = Any
Answer = Any
#: Work on ZooKeeper that is done again and again; returns the seconds until the next time.
Task = Callable[[], float]


class ZooKeeperSession:
    """One process's session with ZooKeeper, made anew for as long as the process lives.

    Args:
        address: `host:port[,host:port…]`.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._tasks: list[Task] = []
        self._wake = threading.Event()
        self._closing = False
        self.client = KazooClient(
            address,
            timeout=SESSION_S,
            handler=_Handler(self._before_connecting),
            connection_retry=_RETRY,
            logger=_QUIET,
        )
        self.client.add_listener(self._on_state)
        self.client.start_async()
        self._thread = critical.VitalThread(self._run_tasks, "zookeeper")
        self._thread.start()

    @property
    def session_id(self) -> int | None:
        """Return the name of the session; another one has none of its ephemeral nodes."""
        client_id = self.client.client_id
        return client_id[0] if client_id else None

    def add_task(self, task: Task) -> None:
        """Run a task from now on: soon, after `wake`, and after the seconds that it returns."""
        self._tasks.append(task)
        self.wake()

    def wake(self) -> None:
        """Run every task soon; never blocks, so that any thread may call it."""
        self._wake.set()

    def call(self, request: Callable[..., Promise], *args: object, **kwargs: object) -> Answer:
        """Send one of kazoo's `…_async` requests, and wait for its answer; in our thread only.

        Raises:
            KazooException: ZooKeeper's error, or the connection was lost.
            TimeoutError: no answer came in the time of a session.
        """
        try:
            return request(*args, **kwargs).get(timeout=SESSION_S)
        except self.client.handler.timeout_exception as error:
            raise TimeoutError(f"{self.address} gave no answer") from error

    def close(self) -> None:
        """End the session: all that this process has there is gone at once."""
        self._closing = True
        self.wake()
        self._thread.join(SESSION_S)
        self.client.stop()
        self.client.close()

    def _before_connecting(self) -> None:
        """Forget what was seen, because a ZooKeeper that lost its data refuses who has seen more.

        That is meant to keep a client from a server that lags behind; we bear that, since whatever
        we change is changed only in the version that we saw.
        """
        self.client.last_zxid = 0

    def _on_state(self, state: str) -> None:
        """Log a change of the connection and wake our thread; kazoo's thread must not block."""
        if self._closing:
            return
        if state == KazooState.CONNECTED:
            log.info("ZooKeeper answers at %s", self.address)
        elif state == KazooState.SUSPENDED:
            log.warning("ZooKeeper at %s is away: what it said last still counts", self.address)
        else:
            log.warning("the session with ZooKeeper at %s is over, a new one begins", self.address)
        self.wake()

    def _run_tasks(self) -> None:
        seconds, complain_at = _RETRY_S, time.monotonic() + _PROBE_S
        while not self._closing:
            self._wake.wait(seconds)
            self._wake.clear()
            if self.client.connected:
                seconds = min(map(self._run_task, list(self._tasks)), default=_COMPLAIN_S)
                complain_at = time.monotonic() + _PROBE_S
                continue
            seconds = _RETRY_S
            if time.monotonic() > complain_at:
                log.warning("waiting for ZooKeeper at %s", self.address)
                complain_at = time.monotonic() + _COMPLAIN_S

    def _run_task(self, task: Task) -> float:
        try:
            return task()
        except Exception as error:  # the thread outlives whatever is away
            if self.client.connected and not self._closing:
                log.warning("ZooKeeper: %s: %s; again soon", type(error).__name__, error)
            return _RETRY_S


def serves(host: str, port: int) -> bool:
    """Return True if a server of ZooKeeper is ready; its port is open for a while before that."""
    try:
        with socket.create_connection((host, port), _PROBE_S) as probe:
            probe.sendall(b"srvr")
            answer = probe.recv(4096)
    except OSError:
        return False
    return bool(answer) and b"not currently serving" not in answer


class _Handler(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo has no types
    """Asks a server first if it is ready, because one that is not answers only after a session."""

    def __init__(self, before: Callable[[], None]) -> None:
        super().__init__()
        self._before = before

    def create_connection(self, address: tuple[str, int], **options: object) -> socket.socket:
        if not serves(*address):
            outages.count(outages.REGISTRY)
            raise ConnectionRefusedError(f"{address[0]}:{address[1]} is not ready")
        self._before()
        connected: socket.socket = super().create_connection(address=address, **options)
        return connected
