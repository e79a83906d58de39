"""A fault is over when the service says that it serves, and not when it says anything."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from labkit.faults.processes import answers

STATUS = health_pb2.HealthCheckResponse


@contextmanager
def serving(status: int) -> Iterator[str]:
    """A health service that says one thing."""
    server = grpc.server(ThreadPoolExecutor(1))
    servicer = health.HealthServicer()
    servicer.set("", status)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@pytest.mark.parametrize("status", [STATUS.SERVING, STATUS.NOT_SERVING, STATUS.UNKNOWN])
def test_only_who_serves_answers(status: int) -> None:
    """A process whose thread does not move answers the question with "no"."""
    with serving(status) as endpoint:
        assert answers(endpoint) == (status == STATUS.SERVING)
    assert not answers(endpoint)
