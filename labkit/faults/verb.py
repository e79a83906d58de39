"""A fault's verb: a context manager that counts how often the fault was hit, declared once.

    class NetworkVerbs(LabVerbs):
        @verb
        def slow(self, service: str, seconds: float) -> Iterator[Reach]:
            "Slow every step of a service down."
            ...                                   # break
            try:
                yield Reach(count_hits, f"no step of {service} ran")
            finally:
                ...                               # mend

From that a lab has `lab.faults.slow("goods", 0.5)`, and the command line
`labkit break slow goods 0.5`.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, Literal, ParamSpec, TypeVar, get_args, get_origin

from labkit.faults.undo_notes import CALLED

S = TypeVar("S")
P = ParamSpec("P")

_KINDS = {float: "a number", int: "a whole number"}


class NotReached(Exception):
    """A fault was there and nothing hit it, so that a test of it proves nothing."""


@dataclass(frozen=True)
class Reach:
    """The count of how often a fault was hit.

    Attributes:
        count: counts, while the fault is there and after it is mended.
        complaint: the event that did not happen, where nothing hit the fault.
    """

    count: Callable[[], int]
    complaint: str

    @property
    def times(self) -> int:
        """Return how often it was hit so far."""
        return self.count()


@dataclass(frozen=True)
class Parameter:
    """An argument of a verb; the command line gives it as text.

    Attributes:
        name: of the argument.
        kind: str, int or float.
        default: None where it must be given.
        choices: the values that it can have; empty where it can have any.
    """

    name: str
    kind: type
    default: object = None
    choices: tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        """Return its part of the usage of a command."""
        text = "|".join(self.choices) or self.name.upper()
        return text if self.default is None else f"[{text}]"

    def parse(self, text: str) -> object:
        """Parse its value.

        Raises:
            ValueError: the text is no such value.
        """
        if self.choices and text not in self.choices:
            raise ValueError(f"{self.name} is one of {', '.join(self.choices)}, not {text!r}")
        try:
            return self.kind(text)
        except ValueError:
            raise ValueError(f"{self.name} is {_KINDS[self.kind]}, not {text!r}") from None


@dataclass(frozen=True)
class Verb:
    """A fault that stands for a block, and is mended after.

    Attributes:
        name: of the method of `Faults`.
        summary: what it does, in a sentence.
        parameters: its arguments, in their order.
    """

    name: str
    summary: str
    parameters: tuple[Parameter, ...]

    @property
    def usage(self) -> str:
        """Return how it is written on the command line."""
        return " ".join((self.name, *(parameter.usage for parameter in self.parameters)))

    def parse(self, texts: Sequence[str]) -> list[object]:
        """Parse its arguments, as the command line has them.

        Raises:
            ValueError: there are too few or too many, or one is invalid; says how it is written.
        """
        needed = sum(parameter.default is None for parameter in self.parameters)
        if not needed <= len(texts) <= len(self.parameters):
            raise ValueError(f"write: labkit break {self.usage}")
        pairs = zip(self.parameters, texts, strict=False)
        return [parameter.parse(text) for parameter, text in pairs]


#: name → verb, in the order in which they are declared.
VERBS: dict[str, Verb] = {}


def verb(
    function: Callable[Concatenate[S, P], Iterator[Reach]],
) -> Callable[Concatenate[S, P], AbstractContextManager[Reach]]:
    """Make a verb of a generator that breaks, yields its `Reach` once, and mends.

    Returns:
        A method that returns a context manager. Its end raises `NotReached` where the block ended
        without an exception, all is mended, and nothing had hit the fault.
    """
    name = function.__name__
    VERBS[name] = Verb(name, _sentence(function), _parameters(function))
    breaking = contextmanager(function)

    @wraps(function)
    @contextmanager
    def apply(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Reach]:
        with ExitStack() as mended:
            token = CALLED.set(" ".join(map(str, (name, *args, *kwargs.values()))))
            try:
                reach = mended.enter_context(breaking(self, *args, **kwargs))
            finally:
                CALLED.reset(token)
            yield reach
        if not reach.times:
            raise NotReached(f"{name}: {reach.complaint}")

    return apply


def _sentence(function: Callable[..., object]) -> str:
    return (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")


def _parameters(function: Callable[..., object]) -> tuple[Parameter, ...]:
    _, *parameters = inspect.signature(function, eval_str=True).parameters.values()
    return tuple(_parameter(parameter) for parameter in parameters)


def _parameter(parameter: inspect.Parameter) -> Parameter:
    default = None if parameter.default is parameter.empty else parameter.default
    if get_origin(parameter.annotation) is Literal:
        return Parameter(parameter.name, str, default, get_args(parameter.annotation))
    return Parameter(parameter.name, parameter.annotation, default)
