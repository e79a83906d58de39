"""What a fault's verb is: a context manager that says how often it was met, declared once.

    class NetworkVerbs(LabVerbs):
        @verb
        def slow(self, service: str, seconds: float) -> Iterator[Reach]:
            "Every step of a service takes so much longer."
            ...                                   # break
            try:
                yield Reach(how_often, f"no step of {service} ran")
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
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, get_args, get_origin

from labkit.faults.undo_notes import CALLED

S = TypeVar("S")
P = ParamSpec("P")

_KINDS = {float: "a number", int: "a whole number"}


class NotReached(Exception):
    """A fault was there and nothing came its way, so that what followed proves nothing."""


@dataclass(frozen=True)
class Reach:
    """How often a fault was met.

    Attributes:
        count: tells it, while the fault is there and after it is mended.
        complaint: what did not happen, where it was met by nothing.
    """

    count: Callable[[], int]
    complaint: str

    @property
    def times(self) -> int:
        """How often it was met so far."""
        return self.count()


@dataclass(frozen=True)
class Parameter:
    """An argument of a verb; the command line gives it as text.

    Attributes:
        name: of the argument.
        kind: str, int or float.
        default: None where it must be given.
        choices: what it can be; empty where it can be anything.
    """

    name: str
    kind: type
    default: Any = None
    choices: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """As the usage of a command shows it."""
        text = "|".join(self.choices) or self.name.upper()
        return text if self.default is None else f"[{text}]"

    def read(self, text: str) -> Any:
        """The value that a text stands for.

        Raises:
            ValueError: it stands for none.
        """
        if self.choices and text not in self.choices:
            raise ValueError(f"{self.name} is one of {', '.join(self.choices)}, not {text!r}")
        try:
            return self.kind(text)
        except ValueError:
            raise ValueError(f"{self.name} is {_KINDS[self.kind]}, not {text!r}") from None


@dataclass(frozen=True)
class Verb:
    """A fault that is there for a block, and mended after.

    Attributes:
        name: of the method of `Faults`.
        says: what it does, in a sentence.
        parameters: its arguments, in their order.
    """

    name: str
    says: str
    parameters: tuple[Parameter, ...]

    @property
    def usage(self) -> str:
        """How it is written on the command line."""
        return " ".join((self.name, *(parameter.shown for parameter in self.parameters)))

    def read(self, texts: Sequence[str]) -> list[Any]:
        """Its arguments, from the command line.

        Raises:
            ValueError: there are too few or too many, or one is none; says how it is written.
        """
        needed = sum(parameter.default is None for parameter in self.parameters)
        if not needed <= len(texts) <= len(self.parameters):
            raise ValueError(f"write: labkit break {self.usage}")
        pairs = zip(self.parameters, texts, strict=False)
        return [parameter.read(text) for parameter, text in pairs]


#: name → verb, in the order in which they are declared.
VERBS: dict[str, Verb] = {}


def verb(
    function: Callable[Concatenate[S, P], Iterator[Reach]],
) -> Callable[Concatenate[S, P], AbstractContextManager[Reach]]:
    """Make a verb of a generator that breaks, yields its `Reach` once, and mends.

    Returns:
        A method that gives a context manager. Its end raises `NotReached` where the block ended
        without an exception, all is mended, and nothing had met the fault.
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


def _sentence(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")


def _parameters(function: Callable[..., Any]) -> tuple[Parameter, ...]:
    _, *ours = inspect.signature(function, eval_str=True).parameters.values()
    return tuple(_parameter(our) for our in ours)


def _parameter(one: inspect.Parameter) -> Parameter:
    default = None if one.default is one.empty else one.default
    if get_origin(one.annotation) is Literal:
        return Parameter(one.name, str, default, get_args(one.annotation))
    return Parameter(one.name, one.annotation, default)
