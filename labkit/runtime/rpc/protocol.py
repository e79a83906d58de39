"""The protocol between two services: messages of msgpack on a TCP stream, many calls in each.

Before each message stands its length. The first one of a caller is its `Hello`. The answer to that
is an empty list, and calls are sent only then: a process that stands still accepts connections, and
would carry out whatever waits in them when it goes on. Each further message of a caller is a list
of `Call`s, each one of the service a list of `Answer`s, in any order. An answer of number 0 is
about all calls: the caller is not served. Whatever writes msgpack and JSON can call a service.
"""

import struct
from collections import deque
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Any, NamedTuple, TypeVar

import msgpack

_LENGTH = struct.Struct(">I")  # before each message
_packer = msgpack.Packer(buf_size=1 << 16)  # its buffer is made once; the loop's thread alone packs
#: The version of this protocol.
VERSION = 1
#: Calls that any instance answers at once, and that reach no service: is it there, and is it well?
PING, HEALTH = "", "?"
#: Bytes of one message. Who receives a longer one hangs up, and every call in it is unknown.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
#: Bytes of the first message, which strangers can send as well.
MAX_HELLO_BYTES = 1024
#: Bytes of the body of one call or answer. A longer one is refused, to its caller alone.
MAX_BODY_BYTES = 2 * 1024 * 1024
#: How many calls or answers travel together at most, and how many bytes before the last one joins.
_MAX_ITEMS, _BATCH_BYTES = 100, 1024 * 1024


class Hello(NamedTuple):
    """The first words of a caller.

    Attributes:
        version: of the protocol.
        service: the name of the service that it calls.
        secret: of the home.
    """

    version: int
    service: str
    secret: str


class Call(NamedTuple):
    """One call among those that travel together.

    Attributes:
        number: of the call on its connection, from 1; the answer bears it.
        method: of the contract, or `PING` or `HEALTH`.
        timeout_ms: after which nobody waits for the answer.
        trace: the caller's trace context (W3C traceparent); empty where nothing is traced.
        body: the command, as JSON.
    """

    number: int
    method: str
    timeout_ms: int
    trace: str
    body: bytes


class Outcome(IntEnum):
    """The end of a call."""

    DONE = 0  # the body is the answer, as JSON
    FAILED = 1  # it raised: whether it had an effect is not known
    BUSY = 2  # too much waits: it was not begun
    LEAVING = 3  # the instance is stopping, or is another one: it was not begun
    REFUSED = 4  # who calls is not known: it was not begun, and will not be


class Answer(NamedTuple):
    """The end of one call; `body` is the answer, or the cause in words."""

    number: int
    outcome: int
    body: bytes


T = TypeVar("T", Call, Answer)


def take_batch(waiting: "deque[T]") -> list[T]:
    """Take from the left what travels in one message: bounded in number and in bytes.

    Args:
        waiting: the calls or answers that are to go out, none longer than `MAX_BODY_BYTES`.
    """
    batch: list[T] = []
    size = 0
    while waiting and len(batch) < _MAX_ITEMS and size < _BATCH_BYTES:
        item = waiting.popleft()
        batch.append(item)
        size += len(item.body)
    return batch


def pack(message: Hello | Sequence[Call] | Sequence[Answer]) -> bytes:
    """Pack what goes out together into one message."""
    packed: bytes = _packer.pack(message)
    return _LENGTH.pack(len(packed)) + packed


#: The answer to the `Hello` of a caller that is served.
WELCOME = pack([])


class MessageReader:
    """Takes a stream apart into its messages.

    Attributes:
        limit: bytes of a message; whatever says that it has more is not waited for.
    """

    def __init__(self, limit: int = MAX_MESSAGE_BYTES) -> None:
        self.limit = limit
        self._data = bytearray()

    def messages_in(self, data: bytes) -> Iterator[object]:
        """Yield the messages that end in what has just arrived.

        Raises:
            ValueError: one is too long, or no msgpack.
        """
        self._data += data
        while len(self._data) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._data)
            if length > self.limit:
                raise ValueError(f"a message may have {self.limit} bytes, and this has {length}")
            end = _LENGTH.size + length
            if len(self._data) < end:
                return
            message = self._data[_LENGTH.size : end]
            del self._data[:end]
            yield msgpack.unpackb(message)


def hello_of(message: object) -> Hello:
    """Return the first message of a caller.

    Raises:
        ValueError: it is not one of ours.
    """
    return Hello(*_fields(message, int, str, str))


def calls_of(message: object) -> list[Call]:
    """Return the calls in a message.

    Raises:
        ValueError: it is not one of ours.
    """
    return [Call(*_fields(item, int, str, int, str, bytes)) for item in _items(message)]


def answers_of(message: object) -> list[Answer]:
    """Return the answers in a message.

    Raises:
        ValueError: it is not one of ours.
    """
    return [Answer(*_fields(item, int, int, bytes)) for item in _items(message)]


def _items(message: object) -> list[object]:
    if isinstance(message, list):
        return message
    raise ValueError(f"{type(message).__name__} is no list")


def _fields(item: object, *types: type) -> Any:
    """Return the fields of an item, each of which has the type that it must have."""
    fields = _items(item)
    if [type(field) for field in fields] != list(types):
        raise ValueError(f"fields of the types {', '.join(each.__name__ for each in types)} belong")
    return fields
