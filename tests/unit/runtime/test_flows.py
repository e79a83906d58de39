"""Flows: who asks for the same meanwhile shares the answer, unless it only wants to know."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from labkit.runtime.service import ServiceRuntime
from labkit.runtime.steps import Flow, flow, lookup_flow
from labkit.shop.wiring import SERVICES


@pytest.mark.parametrize(("mark", "second"), [(flow, "unpaid"), (lookup_flow, "paid")])
def test_who_looks_later_is_told_what_holds_later(mark: Callable[..., Any], second: str) -> None:
    """An order is paid while somebody waits for an answer that was read before: who asks after
    that must not be given it, but whoever asks to do the same again has it done once."""
    state, slow = ["unpaid"], asyncio.Event()

    async def look(_shop: object, _query: str) -> str:
        value = state[0]
        await slow.wait()
        return value

    async def ask_twice() -> list[str]:
        runtime, marked = object.__new__(ServiceRuntime), mark(look)
        runtime._flows, runtime._shop = {}, None
        answers = [runtime._run_flow(marked, "order 1")]
        await asyncio.sleep(0)
        state[0] = "paid"
        answers.append(runtime._run_flow(marked, "order 1"))
        await asyncio.sleep(0)
        slow.set()
        return await asyncio.gather(*answers)

    assert asyncio.run(ask_twice()) == ["unpaid", second]


def test_an_order_is_looked_up_anew_each_time() -> None:
    """A later message of it follows the earlier ones."""
    find_order = SERVICES["order"].methods["find_order"]
    assert isinstance(find_order, Flow)
    assert not find_order.shared
