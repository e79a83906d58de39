"""Clients of a broker, made whole or not at all.

kafka-python (3.0.12) starts a client's thread and sockets before it asks the broker anything, and
leaves both behind if no answer comes in time. A service that tries again all night would run out of
them. The inner client is made by a function that can be replaced, and so it can be closed.
"""

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from kafka.client_async import KafkaClient

C = TypeVar("C")

_BOOTSTRAP_MS = 5_000  # to find a broker; the library's own is half a minute


def make_client(kind: Callable[..., C], **settings: object) -> C:
    """Make a consumer, a producer or an admin client; what cannot be made leaves nothing behind.

    Args:
        kind: the class of kafka-python.
        settings: of the client.

    Raises:
        KafkaError: no broker answers.
    """
    inner: list[KafkaClient] = []
    make_inner: Callable[..., KafkaClient] = kind.DEFAULT_CONFIG["kafka_client"]  # type: ignore[attr-defined]  # untyped

    def make(*args: object, **config: object) -> "KafkaClient":
        inner.append(make_inner(*args, **config))
        return inner[-1]

    try:
        return kind(**{"bootstrap_timeout_ms": _BOOTSTRAP_MS, **settings, "kafka_client": make})
    except BaseException:
        for client in inner:
            client.close()
        gc.collect(1)  # the sockets of earlier tries, known to each other alone
        raise
