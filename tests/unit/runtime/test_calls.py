"""Calls over real gRPC on the loopback: answered, refused, or unknown; never half known."""

import asyncio
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from labkit.results import Result
from labkit.runtime.errors import Unknown
from labkit.runtime.injection.boundaries import BOUNDARIES, Failpoint
from labkit.runtime.injection.failpoints import Failpoints, FailpointStore
from labkit.shop.codes import Code
from labkit.waiting import wait_until
from tests.support.counter import ONE, Add, Counting, Total, calling, one_call, serving

ROOT = Path(__file__).parents[3]


def test_a_call_there_and_back(tmp_path: Path) -> None:
    """A command with a 64-bit id arrives as it was sent, and the typed answer comes back."""
    got = []

    async def add(command: Add) -> Result[Total]:
        got.append(command)
        return Result[Total].ok(Total(amount=7), "ok")

    answer = asyncio.run(one_call(tmp_path, add))
    assert answer == Result[Total].ok(Total(amount=7), "ok")
    assert got == [ONE]


def test_a_refusal_is_an_answer(tmp_path: Path) -> None:
    """A refused command comes back as its `Result`, not as an exception."""

    async def add(_: Add) -> Result[Total]:
        return Result[Total].refused(Code.STOCK_SHORT, "none left")

    assert asyncio.run(one_call(tmp_path, add)).code == Code.STOCK_SHORT


def test_a_stored_answer_travels_like_a_new_one(tmp_path: Path) -> None:
    """An answer read back from the database has plain data; the caller cannot tell, nor does a
    warning get into the log."""

    async def add(_: Add) -> Result[Any]:
        stored = Result[Any].ok(Total(amount=7)).model_dump_json()
        return Result[Any].model_validate_json(stored)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert asyncio.run(one_call(tmp_path, add)).data == Total(amount=7)


def test_a_handler_that_raises_is_unknown(tmp_path: Path) -> None:
    """A defect of the other side is not taken for a refusal, and the cause is named."""

    async def add(_: Add) -> Result[Total]:
        raise ZeroDivisionError("a defect")

    with pytest.raises(Unknown, match="ZeroDivisionError: a defect"):
        asyncio.run(one_call(tmp_path, add))


def test_nobody_serves(tmp_path: Path) -> None:
    """Where no instance is registered within the call's time, that is said."""

    async def main() -> None:
        async with calling(tmp_path, timeout=0.1) as counter:
            await counter.add(ONE)

    with pytest.raises(Unknown, match=r"counter .* no instance is registered"):
        asyncio.run(main())


def test_a_late_answer_is_unknown(tmp_path: Path) -> None:
    """A call that is not answered within its time is unknown: not refused, not failed."""

    async def main() -> None:
        counting = Counting()
        counting.free.clear()
        async with serving(tmp_path, counting.add), calling(tmp_path, timeout=1) as counter:
            with pytest.raises(Unknown, match="its time is over"):
                await counter.add(ONE)
            counting.free.set()

    asyncio.run(main())


def test_who_stops_waiting_does_not_stop_the_work(tmp_path: Path) -> None:
    """A call that was begun ends, though its caller has gone and the server has heard of that."""

    async def main() -> None:
        counting = Counting()
        counting.free.clear()

        async def add(command: Add) -> Any:
            return await counting.add(command) if command.amount else Result[Total].ok()

        async with serving(tmp_path, add), calling(tmp_path) as counter:
            waiting = asyncio.ensure_future(counter.add(ONE))
            await counting.begun.wait()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            for _ in range(20):  # they travel behind the news that the caller has gone
                await counter.add(Add(order_id=1, amount=0))
            counting.free.set()
            await asyncio.to_thread(wait_until, lambda: counting.total == 1, "it was added")

    asyncio.run(main())


def test_none_waits_for_another(tmp_path: Path) -> None:
    """While one call is held up, others on the same connection are answered."""

    async def main() -> None:
        counting = Counting()

        async def add(command: Add) -> Any:
            if command.amount == 0:
                return await counting.add(command)
            return Result[Total].ok(Total(amount=command.amount))

        counting.free.clear()
        async with serving(tmp_path, add), calling(tmp_path) as counter:
            held = asyncio.ensure_future(counter.add(Add(order_id=1, amount=0)))
            await counting.begun.wait()
            answers = await asyncio.gather(
                *(counter.add(Add(order_id=1, amount=number)) for number in range(1, 50))
            )
            assert [answer.data.amount for answer in answers] == list(range(1, 50))
            assert not held.done()
            counting.free.set()
            assert (await held).success

    asyncio.run(main())


def test_instances_share_the_load(tmp_path: Path) -> None:
    """Of two instances of a service, both are asked."""

    async def main() -> tuple[int, int]:
        first, other = Counting(), Counting()
        async with (
            serving(tmp_path, first.add, 1),
            serving(tmp_path, other.add, 2),
            calling(tmp_path) as counter,
        ):
            for _ in range(60):
                await counter.add(ONE)
        return first.total, other.total

    early, other = asyncio.run(main())
    assert early + other == 60
    assert min(early, other) > 0


_HANGING = """
import asyncio, os, sys
from pathlib import Path
from labkit.runtime.registry.files import FolderRegistry
from labkit.runtime.registry.ports import Instance
from labkit.runtime.rpc.server import StreamServer
from tests.support.counter import SECRET, Counter

async def hang():
    print("asked", flush=True)
    await asyncio.Event().wait()

async def main():
    server = StreamServer("counter", SECRET)
    server.add(Counter, {"add": lambda _command, _expires: asyncio.ensure_future(hang())})
    endpoint = await server.start()
    FolderRegistry(Path(sys.argv[1])).announce(Instance("counter", 1, endpoint, os.getpid()))
    print("serving", flush=True)
    await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


def test_another_instance_is_asked_within_the_deadline(tmp_path: Path) -> None:
    """The asked process is killed before it answers: under the same key and deadline the call goes
    to the instance that appears, and is answered."""

    async def main(process: subprocess.Popen[str]) -> tuple[Any, int]:
        counting = Counting()
        async with calling(tmp_path) as counter:
            answer = asyncio.ensure_future(counter.add(ONE))
            assert await asyncio.to_thread(process.stdout.readline) == "asked\n"
            process.kill()
            async with serving(tmp_path, counting.add, 2):
                return await answer, counting.total

    command = [sys.executable, "-c", _HANGING, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout.readline() == "serving\n"
            answer, total = asyncio.run(main(process))
        finally:
            process.kill()
    assert (answer.data.amount, total) == (1, 1)


@pytest.mark.parametrize(
    ("boundary", "action", "answered", "times"),
    [
        ("before_call", "refuse", False, 0),
        ("after_call", "refuse", False, 1),
        ("before_call", "duplicate", True, 2),
        ("before_call", "delay:0.1", True, 1),
        ("after_call", "delay:0.1", True, 1),
    ],
)
def test_a_call_can_be_made_to_fail(
    tmp_path: Path, boundary: str, action: str, answered: bool, times: int
) -> None:
    """A refused call was not made, a refused answer is lost after the work was done, a doubled
    call is made twice and answered once."""
    points = [Failpoint("tests", "add", name) for name in BOUNDARIES if name.endswith("call")]
    failpoints = Failpoints(tmp_path, "tests-1", points)
    FailpointStore(tmp_path).arm(f"tests.add.{boundary}", action)

    async def main() -> int:
        counting = Counting()
        if answered:
            assert (await one_call(tmp_path, counting.add, failpoints=failpoints)).success
        else:
            with pytest.raises(Unknown, match="refused"):
                await one_call(tmp_path, counting.add, failpoints=failpoints)
        return counting.total

    assert asyncio.run(main()) == times
    assert FailpointStore(tmp_path).armed() == {}
