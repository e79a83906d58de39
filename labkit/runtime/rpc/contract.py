"""Contracts: what a Protocol class says of the calls that a service answers."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, get_type_hints

from pydantic import TypeAdapter


@dataclass(frozen=True)
class Method:
    """One call: how its request and its answer are read and written."""

    request: TypeAdapter[Any]
    answer: TypeAdapter[Any]


@cache
def methods_of(contract: type) -> Mapping[str, Method]:
    """The methods of a contract, with what they take and give. Adapters are dear: made once."""
    found = {}
    for name, function in inspect.getmembers(contract, inspect.isfunction):
        if name.startswith("_"):
            continue
        hints = get_type_hints(function)
        answer = TypeAdapter(hints.pop("return"))
        (request,) = hints.values()
        found[name] = Method(TypeAdapter(request), answer)
    return found
