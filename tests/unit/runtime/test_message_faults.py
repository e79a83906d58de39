"""Faults of a message: late, overtaken, sent twice, while the fault stands."""

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from labkit.runtime.injection.messages import MessageFaults
from labkit.runtime.injection.standing import FaultBook, FaultKind, StandingFault, StandingFaults

SECONDS = 30  # after which a message hangs, and the test fails


@pytest.fixture
def book(tmp_path: Path) -> FaultBook:
    """The faults of a home, from outside."""
    return FaultBook(tmp_path)


@pytest.fixture
def faults(tmp_path: Path) -> MessageFaults:
    """Return the faults of the messages of a process of that home."""
    return MessageFaults(StandingFaults(tmp_path))


def within(work: Coroutine[Any, Any, Any]) -> Any:
    """Return what some work gives, which does not hang."""

    async def main() -> Any:
        return await asyncio.wait_for(work, SECONDS)

    return asyncio.run(main())


def test_nothing_befalls_without_a_rule(faults: MessageFaults, book: FaultBook) -> None:
    """Nor by a fault about another topic."""
    book.add(StandingFault(FaultKind.LATE, "refunded", 3600))
    assert within(faults.apply("paid")) is False


def test_twice(faults: MessageFaults, book: FaultBook) -> None:
    """Each message is to be sent twice, and is counted, until the fault is removed."""
    fault = book.add(StandingFault(FaultKind.DUPLICATED, "paid"))
    assert [within(faults.apply("paid")) for _ in range(2)] == [True, True]
    book.remove(fault)
    assert within(faults.apply("paid")) is False
    assert book.hits(fault) == 2


def test_late(faults: MessageFaults, book: FaultBook) -> None:
    """It goes so many seconds later and not before."""
    fault = book.add(StandingFault(FaultKind.LATE, "paid", 0.3))
    began = time.monotonic()
    within(faults.apply("paid"))
    assert time.monotonic() - began >= 0.3
    assert book.hits(fault) == 1


def test_what_is_late_goes_when_the_rule_is_taken_up(
    faults: MessageFaults, book: FaultBook
) -> None:
    """An hour is not waited for."""
    fault = book.add(StandingFault(FaultKind.LATE, "paid", 3600))

    async def main() -> None:
        held = asyncio.ensure_future(faults.apply("paid"))
        while not book.hits(fault):
            await asyncio.sleep(0.01)
        assert not held.done()
        book.remove(fault)
        await held

    within(main())


def test_the_later_goes_first(faults: MessageFaults, book: FaultBook) -> None:
    """The first is held until the second has gone, in that topic; then it was overtaken."""
    fault = book.add(StandingFault(FaultKind.REORDERED, "paid"))
    gone: list[str] = []

    async def send(name: str, topic: str = "paid") -> None:
        await faults.apply(topic)
        gone.append(name)
        faults.sent(topic)

    async def main() -> None:
        first = asyncio.ensure_future(send("first"))
        await asyncio.sleep(0)
        await send("of another topic", "refunded")
        await send("second")
        await first

    within(main())
    assert gone == ["of another topic", "second", "first"]
    assert book.hits(fault) == 1


def test_one_alone_is_not_held_for_ever(faults: MessageFaults, book: FaultBook) -> None:
    """Where no later one comes it goes all the same, and nothing was overtaken; where its send then
    fails, the next is held in its turn."""
    fault = book.add(StandingFault(FaultKind.REORDERED, "paid"))
    for _ in range(2):
        began = time.monotonic()
        assert within(faults.apply("paid")) is False
        assert time.monotonic() - began > 0.5
    assert book.hits(fault) == 0
