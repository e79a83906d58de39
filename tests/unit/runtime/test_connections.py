"""Calls that travel together, over lines that are cut, stalled, or whose other end leaves."""

import asyncio
import signal
import subprocess
import sys
from collections import Counter as Counts
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.results import Result
from labkit.runtime.errors import Unknown
from labkit.runtime.rpc import caller, connection, server
from tests.support.counter import (
    ONE,
    Add,
    Counter,
    Counting,
    Total,
    announce,
    as_handler,
    calling,
    offering,
    serving,
)
from tests.support.proxy import Cut, cutting

ROOT = Path(__file__).parents[3]
NUMBER = count()
OPENING = 40  # bytes that any connection takes, either way, before the first call
SECONDS = 30  # after which a call hangs, and the test fails


class Doubling:
    """A handler whose answer tells which call it belongs to, and which counts what it did."""

    def __init__(self) -> None:
        self.done: Counts[int] = Counts()

    async def add(self, command: Add) -> Result[Total]:
        """Answer in another order than asked."""
        for _ in range(command.amount % 5):
            await asyncio.sleep(0)
        self.done[command.amount] += 1
        return Result[Total].ok(Total(amount=2 * command.amount))


async def outcome(counter: Counter, number: int) -> int | None:
    """Return what a call gave; None where it is unknown."""
    try:
        return (await counter.add(Add(order_id=number, amount=number))).data.amount
    except Unknown:
        return None


async def outcomes(counter: Counter, numbers: range) -> dict[int, int | None]:
    """Return what concurrent calls gave."""
    together = asyncio.gather(*(outcome(counter, number) for number in numbers))
    return dict(zip(numbers, await asyncio.wait_for(together, SECONDS), strict=True))


def _cuts(*how: str) -> st.SearchStrategy[Cut]:
    # about 100 bytes open a connection either way, and a call takes as many
    sizes = st.integers(0, 400) | st.integers(0, 4000)
    return st.builds(Cut, st.booleans(), sizes, st.sampled_from(how))


@settings(max_examples=20)
@given(
    cuts=st.lists(_cuts("closed", "reset"), min_size=1, max_size=3),
    rounds=st.lists(st.integers(1, 30), min_size=1, max_size=3),
)
def test_a_cut_line_swaps_and_loses_nothing(
    tmp_path: Path, cuts: list[Cut], rounds: list[int]
) -> None:
    """However often the connection is cut, at whatever byte: each of many calls is asked again
    under its key and ends with its own answer, and what is answered was done."""

    async def main(folder: Path) -> None:
        doubling, first = Doubling(), 1
        async with (
            offering(as_handler(doubling.add)) as (_, endpoint),
            cutting(endpoint, cuts) as proxy,
        ):
            announce(folder, proxy.endpoint)
            async with calling(folder, timeout=SECONDS) as counter:
                for size in rounds:
                    numbers, first = range(first, first + size), first + size
                    sums = await outcomes(counter, numbers)
                    assert sums == {number: 2 * number for number in numbers}
                    assert all(doubling.done[number] for number in numbers)
            assert proxy.met.is_set() or cuts[0].after > OPENING, "no connection was ever cut"

    asyncio.run(main(tmp_path / f"cut-{next(NUMBER)}"))


@settings(max_examples=12)
@given(cut=_cuts("closed", "reset", "stalled"), calls=st.integers(1, 30))
def test_a_lost_line_leaves_known_or_unknown(tmp_path: Path, cut: Cut, calls: int) -> None:
    """The other side is never reached again, or nothing passes any more: each call ends, with its
    own answer, which was done, or unknown; none is refused, swapped, or hangs."""

    async def main(folder: Path) -> None:
        doubling = Doubling()
        async with (
            offering(as_handler(doubling.add)) as (_, endpoint),
            cutting(endpoint, [cut], gone=True) as proxy,
        ):
            announce(folder, proxy.endpoint)
            async with calling(folder, timeout=0.3) as counter:
                sums = await outcomes(counter, range(1, calls + 1))
                if cut.after <= OPENING:
                    await within(proxy.met.wait())
        answered = {number: got for number, got in sums.items() if got is not None}
        assert answered == {number: 2 * number for number in answered}
        assert all(doubling.done[number] for number in answered)

    asyncio.run(main(tmp_path / f"lost-{next(NUMBER)}"))


def test_a_stalled_line_is_replaced(tmp_path: Path) -> None:
    """Nothing passes any more and nobody says so: a new line is made, and the calls that waited on
    the old one are answered on it, though there is no other instance."""

    async def main() -> None:
        doubling = Doubling()
        async with (
            offering(as_handler(doubling.add)) as (_, endpoint),
            cutting(endpoint, [Cut(True, OPENING, "stalled")]) as proxy,
        ):
            announce(tmp_path, proxy.endpoint)
            async with calling(tmp_path, timeout=SECONDS) as counter:
                sums = await outcomes(counter, range(1, 4))
            assert proxy.met.is_set()
        assert sums == {1: 2, 2: 4, 3: 6}

    asyncio.run(main())


def test_what_is_known_is_not_asked_for_again(tmp_path: Path) -> None:
    """The line is cut behind an answer: who has it keeps it, and the work is not done twice."""

    async def main() -> None:
        doubling = Doubling()
        async with (
            offering(as_handler(doubling.add)) as (_, endpoint),
            cutting(endpoint, []) as proxy,
        ):
            announce(tmp_path, proxy.endpoint)
            async with calling(tmp_path) as counter:
                for number in range(1, 4):
                    assert await outcome(counter, number) == 2 * number
                    proxy.cut_all()
        assert set(doubling.done.values()) == {1}

    asyncio.run(main())


# together


@contextmanager
def counting_messages(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counts[str]]:
    """How many messages came with calls, how many with answers, and what was in them."""
    counts: Counts[str] = Counts()
    for module, name in ((caller, "calls_of"), (connection, "answers_of")):
        read = getattr(module, name)

        def counted(message: bytes, read: Any = read, name: str = name) -> list[Any]:
            items: list[Any] = read(message)
            counts[name] += 1
            counts[f"in {name}"] += len(items)
            return items

        monkeypatch.setattr(module, name, counted)
    yield counts


def test_concurrent_calls_travel_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred calls asked at once go out in a handful of messages, and so do their answers."""

    async def main() -> None:
        async with serving(tmp_path, Doubling().add), calling(tmp_path) as counter:
            sums = await outcomes(counter, range(200))
        assert sums == {number: 2 * number for number in range(200)}

    with counting_messages(monkeypatch) as counts:
        asyncio.run(main())
    # a slow machine may be asked in between whether it is there: one more
    assert 200 <= counts["in answers_of"] <= counts["in calls_of"] <= 201
    assert counts["calls_of"] <= 20
    assert counts["answers_of"] <= 20


# instances that stand still, and that leave


@contextmanager
def instance(folder: Path, number: int) -> Iterator["subprocess.Popen[str]"]:
    """A process that answers with the number of its instance."""
    command = [sys.executable, "-m", "tests.support.counter", str(folder), str(number)]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "serving\n"
            yield process
        finally:
            process.kill()


def test_who_stands_still_is_left_until_he_wakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two instances is stopped: the calls that it was asked are answered by the other, long
    before its line is given up; when it wakes up it is asked again."""
    monkeypatch.setattr(connection, "_PING_TIMEOUT_S", 3600)

    async def answered_by(counter: Counter, calls: int) -> set[int]:
        sums = await asyncio.gather(*(counter.add(ONE) for _ in range(calls)))
        return {answer.data.amount for answer in sums}

    async def until_asked(counter: Counter, number: int) -> None:
        while number not in await answered_by(counter, 4):
            pass

    async def main(process: "subprocess.Popen[str]") -> None:
        async def add(_: Add) -> Result[Total]:
            return Result[Total].ok(Total(amount=2))

        async with serving(tmp_path, add, 2), calling(tmp_path, timeout=20) as counter:
            await within(until_asked(counter, 1))
            process.send_signal(signal.SIGSTOP)
            assert await answered_by(counter, 20) == {2}
            process.send_signal(signal.SIGCONT)
            await within(until_asked(counter, 1))

    with instance(tmp_path, 1) as process:
        asyncio.run(main(process))


def test_one_that_leaves_answers_what_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instance that stops ends what it has begun and begins nothing more: the next calls are
    answered by the other, within their time."""
    monkeypatch.setattr(server, "_PATIENCE_S", SECONDS)

    async def main() -> None:
        leaving, staying = Counting(), Counting()
        async with (
            offering(as_handler(leaving.add)) as (stopping, endpoint),
            calling(tmp_path) as counter,
        ):
            announce(tmp_path, endpoint, 1)
            leaving.free.clear()
            begun = asyncio.ensure_future(counter.add(ONE))
            await leaving.begun.wait()
            stopped = asyncio.ensure_future(stopping.stop())
            async with serving(tmp_path, staying.add, 2):
                await within(asyncio.gather(*(counter.add(ONE) for _ in range(20))))
                assert (leaving.total, staying.total) == (0, 20)
                assert not begun.done()
                leaving.free.set()
                assert (await within(begun)).success
                assert (leaving.total, staying.total) == (1, 20)
            await stopped

    asyncio.run(main())


async def within(work: "Coroutine[Any, Any, Any] | asyncio.Future[Any]") -> Any:
    """Return what work gives, which must not hang."""
    return await asyncio.wait_for(work, SECONDS)
