"""What befalls a message by a rule: late, overtaken, sent twice, while the rule stands."""

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from labkit.runtime.injection.messages import MessageFaults
from labkit.runtime.injection.standing import FaultBook, Rule, Rules

SECONDS = 30  # after which a message hangs, and the test fails


@pytest.fixture
def book(tmp_path: Path) -> FaultBook:
    """The rules of a home, from outside."""
    return FaultBook(tmp_path)


@pytest.fixture
def mishaps(tmp_path: Path) -> MessageFaults:
    """What befalls the messages of a process of that home."""
    return MessageFaults(Rules(tmp_path))


def within(work: Coroutine[Any, Any, Any]) -> Any:
    """What some work gives, which does not hang."""

    async def main() -> Any:
        return await asyncio.wait_for(work, SECONDS)

    return asyncio.run(main())


def test_nothing_befalls_without_a_rule(mishaps: MessageFaults, book: FaultBook) -> None:
    """Nor by a rule about another topic."""
    book.lay(Rule("late", "refunded", 3600))
    assert within(mishaps.apply("paid")) is False


def test_twice(mishaps: MessageFaults, book: FaultBook) -> None:
    """Each message is to be sent twice, and is counted, until the rule is taken up."""
    rule = book.lay(Rule("duplicated", "paid"))
    assert [within(mishaps.apply("paid")) for _ in range(2)] == [True, True]
    book.take_up(rule)
    assert within(mishaps.apply("paid")) is False
    assert book.met(rule) == 2


def test_late(mishaps: MessageFaults, book: FaultBook) -> None:
    """It goes so many seconds later and not before."""
    rule = book.lay(Rule("late", "paid", 0.3))
    began = time.monotonic()
    within(mishaps.apply("paid"))
    assert time.monotonic() - began >= 0.3
    assert book.met(rule) == 1


def test_what_is_late_goes_when_the_rule_is_taken_up(
    mishaps: MessageFaults, book: FaultBook
) -> None:
    """An hour is not waited for."""
    rule = book.lay(Rule("late", "paid", 3600))

    async def main() -> None:
        held = asyncio.ensure_future(mishaps.apply("paid"))
        while not book.met(rule):
            await asyncio.sleep(0.01)
        assert not held.done()
        book.take_up(rule)
        await held

    within(main())


def test_the_later_goes_first(mishaps: MessageFaults, book: FaultBook) -> None:
    """The first is held until the second has gone, in that topic; then it was overtaken."""
    rule = book.lay(Rule("reordered", "paid"))
    gone: list[str] = []

    async def send(name: str, topic: str = "paid") -> None:
        await mishaps.apply(topic)
        gone.append(name)
        mishaps.gone(topic)

    async def main() -> None:
        first = asyncio.ensure_future(send("first"))
        await asyncio.sleep(0)
        await send("of another topic", "refunded")
        await send("second")
        await first

    within(main())
    assert gone == ["of another topic", "second", "first"]
    assert book.met(rule) == 1


def test_one_alone_is_not_held_for_ever(mishaps: MessageFaults, book: FaultBook) -> None:
    """Where no later one comes it goes all the same, and nothing was overtaken; where its send then
    fails, the next is held in its turn."""
    rule = book.lay(Rule("reordered", "paid"))
    for _ in range(2):
        began = time.monotonic()
        assert within(mishaps.apply("paid")) is False
        assert time.monotonic() - began > 0.5
    assert book.met(rule) == 0
