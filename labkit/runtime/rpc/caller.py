"""One caller of a service, as its server sees it: a stream of calls, and of their answers."""

import asyncio
import socket
from collections.abc import Callable

from labkit.runtime.rpc.batches import Batches
from labkit.runtime.rpc.dispatch import Dispatcher
from labkit.runtime.rpc.protocol import (
    MAX_BODY_BYTES,
    MAX_HELLO_BYTES,
    MAX_MESSAGE_BYTES,
    WELCOME,
    Answer,
    Call,
    Hello,
    MessageReader,
    Outcome,
    calls_of,
    hello_of,
    pack,
)

_HELLO_S = 5.0  # in which a caller says who it is
_LINGER_S = 1.0  # in which a caller that is refused reads why
_MAX_STRANGERS = 64  # connected, before they say who they are: each costs a descriptor


class Callers:
    """Those who are connected.

    Attributes:
        all: all of them.
        strangers: those who have not said who they are, who came first first.
    """

    def __init__(self) -> None:
        self.all: set[Caller] = set()
        self.strangers: dict[Caller, None] = {}

    def add(self, caller: "Caller") -> None:
        """Add a stranger; of too many, who came first must go."""
        self.all.add(caller)
        self.strangers[caller] = None
        if len(self.strangers) > _MAX_STRANGERS:
            next(iter(self.strangers)).abort()

    def remove(self, caller: "Caller") -> None:
        """Forget a caller."""
        self.all.discard(caller)
        self.strangers.pop(caller, None)


class Caller(asyncio.Protocol):
    """The stream of one caller: its calls, and their answers; all that are ready go out together.

    Args:
        dispatcher: carries calls out.
        why_refused: returns the answer to a caller that is not served.
        callers: where it stands while it is connected.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        why_refused: Callable[[Hello], Answer | None],
        callers: Callers,
    ) -> None:
        self._dispatcher = dispatcher
        self._why_refused = why_refused
        self._callers = callers
        self._loop = asyncio.get_running_loop()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._reader = MessageReader(MAX_HELLO_BYTES)
        self._is_known = self._is_refused = self._is_at_end = False
        self._under_way = 0
        self._outgoing = Batches[Answer]()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait a while for who it is; the loop calls this."""
        self._transport = transport
        if connected := transport.get_extra_info("socket"):
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._callers.add(self)
        self._timer = self._loop.call_later(_HELLO_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Begin the calls that are whole; the loop calls this."""
        if self._is_refused:  # what it still sends is read, or it would miss why
            return
        try:
            for message in self._reader.messages_in(data):
                if self._is_refused:
                    break
                self._receive(message)
        except ValueError as error:
            self._refuse(Answer(0, Outcome.REFUSED, f"not a message: {error}".encode()))

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget it; the loop calls this."""
        self._timer.cancel()
        self._callers.remove(self)
        self._gone.set_result(None)

    def eof_received(self) -> bool:
        """Answer what was asked before the caller ended its side; the loop calls this."""
        self._is_at_end = True
        if not self._under_way:
            self._outgoing.finish()
        return self._is_known

    def pause_writing(self) -> None:
        """Wait until the caller reads; the loop calls this."""
        self._outgoing.pause()

    def resume_writing(self) -> None:
        """Send what had to wait; the loop calls this."""
        self._outgoing.resume()

    def hang_up(self) -> "asyncio.Future[None]":
        """Close the stream when all answers are out; the future is done when it is closed."""
        if self._is_known:
            self._outgoing.finish()
        else:
            self._transport.abort()
        return self._gone

    def abort(self) -> None:
        """Close the stream at once."""
        self._callers.remove(self)
        self._transport.abort()

    def _receive(self, message: object) -> None:
        """Begin the calls of a message; the first one says who sends it."""
        if self._is_known:
            for call in calls_of(message):
                self._under_way += 1
                self._dispatcher.begin(call, self._send)
        elif refusal := self._why_refused(hello_of(message)):
            self._refuse(refusal)
        else:
            self._is_known = True
            self._callers.strangers.pop(self, None)
            self._timer.cancel()
            self._reader.limit = MAX_MESSAGE_BYTES
            self._transport.write(WELCOME)
            self._outgoing.open(self._transport)

    def _refuse(self, refusal: Answer) -> None:
        """Say why, and hang up when it had the time to read that."""
        self._is_refused = True
        self._outgoing.stop()
        self._transport.write(pack([refusal]))
        self._transport.write_eof()
        self._timer.cancel()
        self._timer = self._loop.call_later(_LINGER_S, self._transport.abort)

    def _send(self, call: Call, outcome: Outcome, body: bytes) -> None:
        if len(body) > MAX_BODY_BYTES:
            text = f"the answer of {call.method} has {len(body)} bytes, and {MAX_BODY_BYTES} travel"
            outcome, body = Outcome.FAILED, text.encode()
        self._under_way -= 1
        self._outgoing.put(Answer(call.number, outcome, body))
        if self._is_at_end and not self._under_way:
            self._outgoing.finish()
