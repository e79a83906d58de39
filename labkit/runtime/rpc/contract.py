"""Contracts: classes that say which calls a service answers, and with what.

A contract of one of our services names the step or flow behind each call:

    class GoodsService:
        deduct_stock = ServedBy(goods.deduct_stock)

So a caller's `shop.goods.deduct_stock(…)` leads to the step by "go to definition", and its types
are the step's. A contract of a system that is written as a class is a Protocol.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Never, Self, TypeVar, get_type_hints, overload

from pydantic import TypeAdapter

from labkit.results import Message
from labkit.runtime.steps import Flow, Step

A_co = TypeVar("A_co", covariant=True)
C_contra = TypeVar("C_contra", contravariant=True)
S = TypeVar("S")
#: What an annotation says: a class, or a form of `typing`.
Hint = Any
#: The adapter of a type that is known only when a contract is read.
AnyAdapter = TypeAdapter[Any]


class ServedBy(Generic[C_contra, A_co]):
    """A call of a contract, answered by a step or a flow of the service.

    Attributes:
        function: the step or flow.
        hints: the types of the function's command and answer, in this order, as it was written:
            whatever stands in the function's place later must keep to them.
    """

    def __init__(self, function: Step[C_contra, A_co] | Flow[C_contra, A_co]) -> None:
        self.function = function
        self.hints = _hints_of(function.function)

    @overload
    def __get__(self, stub: None, contract: type) -> Self: ...

    @overload
    def __get__(self, stub: object, contract: type) -> Callable[[C_contra], Awaitable[A_co]]: ...

    def __get__(self, stub: object, contract: type) -> object:
        """Return the call itself from the class; a stub has a method of its own."""
        if stub is None:
            return self
        raise AttributeError(f"this {contract.__name__} is no stub: `make_stub` makes one")


@dataclass(frozen=True)
class Method:
    """The type of a call's request, and the reader and writer of its answer."""

    request: type[Message]
    answer: AnyAdapter


def calls_of(contract: type) -> Mapping[str, ServedBy[Never, object]]:
    """Return the calls of a contract that names the functions behind them."""
    return {name: call for name, call in vars(contract).items() if isinstance(call, ServedBy)}


@cache
def methods_of(contract: type) -> Mapping[str, Method]:
    """Return the methods of a contract, by name. Adapters are dear, so they are made once."""
    hints = {name: call.hints for name, call in calls_of(contract).items()} or {
        name: _hints_of(function)
        for name, function in inspect.getmembers(contract, inspect.isfunction)
        if not name.startswith("_")
    }
    return {
        name: Method(request, TypeAdapter(answer))
        for name, (request, answer) in sorted(hints.items())
    }


def make_stub(contract: type[S], methods: Mapping[str, Callable[[Never], Awaitable[object]]]) -> S:
    """Return an object of a contract that has these methods."""
    stub = object.__new__(contract)
    vars(stub).update(methods)
    return stub


def _hints_of(function: Callable[..., object]) -> tuple[Hint, Hint]:
    """Return the types of a function's last parameter and of its answer."""
    hints = get_type_hints(function)
    answer = hints.pop("return")
    *_, request = hints.values()
    return request, answer
