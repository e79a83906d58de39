"""Limits of the HTTP servers before a request is whole: slow heads, endless heads, connections.

uvicorn waits for ever for the head of a request, of any length, and accepts as many connections as
there are descriptors. One client that sends nothing could keep all others out (a "slowloris").
"""

import asyncio
import resource
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD_S = 5.0  # for a whole head, as long as a body has
_MAX_HEAD_BYTES = 16 * 1024
_RESERVED_DESCRIPTORS = 200  # for files, databases, and the calls to other services
_MAX_CONNECTIONS = 10_000


class BoundedProtocol(HttpToolsProtocol):
    """A connection with limits. Breaking one closes it, with an answer that says which.

    With too many connections, the one that has been sending its head for longest is closed: a
    client that has sent a whole request is always served.
    """

    #: Connections that have not sent a whole head yet, the oldest first.
    _unfinished: ClassVar[dict["BoundedProtocol", None]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer of the first head."""
        super().connection_made(transport)
        self._refusal = ""
        self._timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._begin_head()
        self._wait_for_head()
        if len(self.connections) > max_connections():
            next(iter(self._unfinished)).refuse("503 Service Unavailable", "too many connections")

    def data_received(self, data: bytes) -> None:
        """Receive data; a head must end in time, and below its limit."""
        self._head_bytes += len(data)
        super().data_received(data)
        if not self._in_head:
            self._head_bytes = 0
        elif self._head_bytes > _MAX_HEAD_BYTES:
            self._refuse_head()
        elif self._timer is None:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._end_head()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begin to read the head of a request; the parser calls this."""
        self._begin_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Accept a request whose head is not too long; the parser calls this."""
        self._end_head()
        if self._head_bytes > _MAX_HEAD_BYTES:  # or it came with the beginning of a body
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > _MAX_HEAD_BYTES:
                self._refuse_head()
                raise ValueError("the head is too long")  # the parser stops
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer that it is no HTTP, unless `refuse` has answered."""
        if not self._refusal:
            super().send_400_response(msg)

    def refuse(self, status: str, why: str) -> None:
        """Answer and close the connection."""
        self._refusal = why
        self._end_head()
        if self.transport.is_closing():
            return
        head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain"
        self.transport.write(f"{head}\r\nContent-Length: {len(why)}\r\n\r\n{why}".encode())
        self.transport.close()

    def _refuse_head(self) -> None:
        why = f"the head of a request may have {_MAX_HEAD_BYTES} bytes"
        self.refuse("431 Request Header Fields Too Large", why)

    def _begin_head(self) -> None:
        self._in_head = True
        self._unfinished[self] = None

    def _end_head(self) -> None:
        self._in_head = False
        self._unfinished.pop(self, None)
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _wait_for_head(self) -> None:
        why = f"a whole head must come within {_HEAD_S:.0f} s"
        self._timer = self.loop.call_later(_HEAD_S, self.refuse, "408 Request Timeout", why)


def max_connections() -> int:
    """Return how many connections a server accepts at once, as its descriptors allow."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(_MAX_CONNECTIONS, soft - _RESERVED_DESCRIPTORS))


def options(**own: Any) -> dict[str, Any]:
    """Return the uvicorn options of every HTTP server of a lab, and those of its own."""
    return {
        "http": BoundedProtocol,
        "lifespan": "off",
        "access_log": False,
        "log_level": "warning",
        "server_header": False,
        "proxy_headers": False,
        "timeout_graceful_shutdown": 1,
        **own,
    }
