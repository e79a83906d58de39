"""The protocol between two services: calls and answers, many in one message of a gRPC stream."""

from collections import deque
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple, TypeVar

import msgpack

_packer = msgpack.Packer(buf_size=1 << 16)  # its buffer is made once; the loop's thread alone packs
#: A call that any instance answers at once; it reaches no service.
PING = ""
#: Bytes of one gRPC message, which both sides allow; gRPC closes the stream on a longer one, and
#: every call in it would be unknown.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
#: Bytes of the body of one call or answer. A longer one is refused, to its caller alone.
MAX_BODY_BYTES = 2 * 1024 * 1024
#: How many calls or answers travel together at most, and how many bytes before the last one joins.
_MAX_ITEMS, _BATCH_BYTES = 100, 1024 * 1024


class Call(NamedTuple):
    """One call among those that travel together.

    Attributes:
        number: of the call on its connection; the answer bears it.
        method: of the contract, or `PING`.
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
    LEAVING = 3  # the instance is stopping: it was not begun


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


def pack(items: Sequence[Call] | Sequence[Answer]) -> bytes:
    """Pack what goes out together into one message."""
    packed: bytes = _packer.pack(items)
    return packed


def calls_of(message: bytes) -> list[Call]:
    """Return the calls in a message.

    Raises:
        ValueError: it is not one of ours.
    """
    return [Call(*fields) for fields in msgpack.unpackb(message)]


def answers_of(message: bytes) -> list[Answer]:
    """Return the answers in a message.

    Raises:
        ValueError: it is not one of ours.
    """
    return [Answer(*fields) for fields in msgpack.unpackb(message)]
