"""Calls of who does not belong to the home, over real gRPC: refused; only health is told to all."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from labkit.runtime.errors import Unknown
from labkit.runtime.rpc.protocol import Call, pack
from tests.support.counter import ONE, SECRET, Counting, one_call, serving


@pytest.mark.parametrize("secret", ["", "another home's"])
def test_a_call_without_the_secret_is_refused(tmp_path: Path, secret: str) -> None:
    """A caller that does not know the home's secret gets no answer, and nothing is done."""

    async def main() -> int:
        counting = Counting()
        with pytest.raises(Unknown, match="UNAUTHENTICATED"):
            await one_call(tmp_path, counting.add, secret=secret)
        return counting.total

    assert asyncio.run(main()) == 0


def test_a_foreign_client_is_refused(tmp_path: Path) -> None:
    """Without the header, or with something that is no message, a gRPC client is refused."""

    async def main() -> list[grpc.StatusCode]:
        counting, codes = Counting(), []
        async with (
            serving(tmp_path, counting.add) as endpoint,
            grpc.aio.insecure_channel(endpoint) as channel,
        ):
            send = channel.stream_stream("/labkit.counter/calls")
            with_secret = (("labkit-secret", SECRET),)
            call = Call(1, "add", 1000, "", ONE.model_dump_json().encode())
            for message, metadata in ((pack([call]), None), (b"no message", with_secret)):
                stream = send(metadata=metadata)
                with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    await stream.write(message)
                codes.append(await stream.code())
        assert counting.total == 0
        return codes

    refused = [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INVALID_ARGUMENT]
    assert asyncio.run(main()) == refused


def test_the_health_service_answers(tmp_path: Path) -> None:
    """Standard tools can ask whether a service serves."""

    async def main() -> Any:
        async with (
            serving(tmp_path, Counting().add) as endpoint,
            grpc.aio.insecure_channel(endpoint) as channel,
        ):
            stub = health_pb2_grpc.HealthStub(channel)
            return await stub.Check(health_pb2.HealthCheckRequest(service=""))

    assert asyncio.run(main()).status == health_pb2.HealthCheckResponse.SERVING
