"""Contracts: each call has a handler, and types of its own."""

from typing import Any

import pytest

from labkit.results import Message, Result
from labkit.runtime.rpc.contract import calls_of, methods_of
from labkit.runtime.wiring import Service
from labkit.shop.contracts import PaymentPlatform
from labkit.shop.wiring import NAMES, SERVICES


def test_every_contract_is_served_and_callable() -> None:
    """Each service has a handler for each method of its contract; each call finds its service."""
    for service in SERVICES.values():
        if service.contract:
            assert methods_of(service.contract).keys() == service.methods.keys()
        for contract in service.calls.values():
            assert contract is PaymentPlatform or NAMES[contract] in SERVICES


@pytest.mark.parametrize("service", [service for service in SERVICES.values() if service.contract])
def test_a_contract_says_what_its_calls_take_and_answer(service: Service) -> None:
    """A stub reads answers as the step behind a call says, which is never `Any`.

    What a bug puts in the step's place keeps to what was said.
    """
    for name, call in calls_of(service.contract).items():
        request, answer = call.hints
        assert issubclass(request, Message), name
        assert issubclass(answer, Result), name
        assert answer is not Result[Any], name
