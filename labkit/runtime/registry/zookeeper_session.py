"""A connection to ZooKeeper, and the one thread in which a process sees to what it has there.

A connection makes threads: it is opened after a fork, never before. kazoo's own threads only wake
ours; what waits for an answer waits there, so that neither kazoo nor the event loop ever does.
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

#: After this silence the ensemble takes a process for dead, and what it had there is gone.
SESSION_SECONDS = 4.0
#: Without these kazoo would wait longer and longer, up to an hour, while the ensemble is away.
_RETRY = {"max_tries": -1, "delay": 0.05, "max_delay": 0.5}
_AGAIN_SECONDS = 0.2
_PROBE_SECONDS = 1.0
_COMPLAIN_SECONDS = 10.0
#: kazoo tells of every try to connect; we tell when something has changed.
_QUIET = logging.getLogger("kazoo.quiet")
_QUIET.setLevel(logging.CRITICAL)

#: Sees to something there, as often as it is asked; gives the seconds until it must do so again.
Duty = Callable[[], float]


class ZooKeeperSession:
    """One process's session with an ensemble, made anew for as long as the process lives.

    Args:
        address: `host:port[,host:port…]`.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._duties: list[Duty] = []
        self._wake = threading.Event()
        self._closing = False
        self.client = KazooClient(
            address,
            timeout=SESSION_SECONDS,
            handler=_Handler(self._before_connecting),
            connection_retry=_RETRY,
            logger=_QUIET,
        )
        self.client.add_listener(self._hear)
        self.client.start_async()
        self._thread = critical.VitalThread(self._keep, "zookeeper")
        self._thread.start()

    @property
    def session(self) -> int | None:
        """Names the session; another one has none of the ephemeral nodes of this."""
        known = self.client.client_id
        return known[0] if known else None

    def see_to(self, duty: Duty) -> None:
        """Have something seen to from now on: soon, after `wake`, and when its time has come."""
        self._duties.append(duty)
        self.wake()

    def wake(self) -> None:
        """Have every duty looked at soon; never blocks, so that any thread may call it."""
        self._wake.set()

    def ask(self, request: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Send one of kazoo's `…_async` requests, and wait for its answer; in our thread only.

        Raises:
            KazooException: what the ensemble answered, or that the connection was lost.
            TimeoutError: no answer came in the time of a session.
        """
        try:
            return request(*args, **kwargs).get(timeout=SESSION_SECONDS)
        except self.client.handler.timeout_exception as error:
            raise TimeoutError(f"{self.address} gave no answer") from error

    def close(self) -> None:
        """End the session: all that this process had there is gone at once."""
        self._closing = True
        self.wake()
        self._thread.join(SESSION_SECONDS)
        self.client.stop()
        self.client.close()

    def _before_connecting(self) -> None:
        """Have an ensemble that lost its data let us in: it refuses who has seen more than it has.

        That is meant to keep a client from a server that lags behind; we bear that, since whatever
        we change is changed only in the version that we know.
        """
        self.client.last_zxid = 0

    def _hear(self, state: str) -> None:
        """Called by kazoo's thread; must not block."""
        if self._closing:
            return
        if state == KazooState.CONNECTED:
            log.info("ZooKeeper answers at %s", self.address)
        elif state == KazooState.SUSPENDED:
            log.warning("ZooKeeper at %s is away: what it said last still counts", self.address)
        else:
            log.warning("the session with ZooKeeper at %s is over, a new one begins", self.address)
        self.wake()

    def _keep(self) -> None:
        seconds, complain_at = _AGAIN_SECONDS, time.monotonic() + _PROBE_SECONDS
        while not self._closing:
            self._wake.wait(seconds)
            self._wake.clear()
            if self.client.connected:
                seconds = min(map(self._see_to, list(self._duties)), default=_COMPLAIN_SECONDS)
                complain_at = time.monotonic() + _PROBE_SECONDS
                continue
            seconds = _AGAIN_SECONDS
            if time.monotonic() > complain_at:
                log.warning("waiting for ZooKeeper at %s", self.address)
                complain_at = time.monotonic() + _COMPLAIN_SECONDS

    def _see_to(self, duty: Duty) -> float:
        try:
            return duty()
        except Exception as error:  # the thread outlives whatever is away
            if self.client.connected and not self._closing:
                log.warning("ZooKeeper: %s: %s; again soon", type(error).__name__, error)
            return _AGAIN_SECONDS


def serves(host: str, port: int) -> bool:
    """Whether a server of an ensemble is ready; its port is open for a while before that."""
    try:
        with socket.create_connection((host, port), _PROBE_SECONDS) as probe:
            probe.sendall(b"srvr")
            said = probe.recv(4096)
    except OSError:
        return False
    return bool(said) and b"not currently serving" not in said


class _Handler(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo has no types
    """Asks a server first if it is ready: one that is not would have us wait a whole session."""

    def __init__(self, before: Callable[[], None]) -> None:
        super().__init__()
        self._before = before

    def create_connection(self, address: tuple[str, int], **options: Any) -> Any:
        if not serves(*address):
            outages.count(outages.REGISTRY)
            raise ConnectionRefusedError(f"{address[0]}:{address[1]} is not ready")
        self._before()
        return super().create_connection(address=address, **options)
