"""The shape of every answer: a `Result`, with a code from a catalogue.

A business refusal is a returned `Result`, never an exception; exceptions are for the unexpected.
This module holds no catalogue: the shop's is `labkit/shop/codes.py`, the runtime's own few codes
stand in `labkit/runtime/codes.py`.
"""

import hashlib
from enum import IntEnum
from typing import Any, ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict

_REFUSED_BY_A_RULE = 422
#: An undecided order (202), a wrong state (409) and an absent dependency (503) may pass.
_FINAL = (200, 422)


class ResultCode(IntEnum):
    """Base of a catalogue of codes, each with its HTTP status beside its number.

    A code without a status is the refusal of a business rule: 422.

    Attributes:
        status: the HTTP status of an answer with this code.
    """

    _value_: int
    status: int

    def __new__(cls, number: int, status: int = _REFUSED_BY_A_RULE) -> Self:
        """Make the member of a line of the catalogue."""
        code = int.__new__(cls, number)
        code._value_ = number
        code.status = status
        return code

    @property
    def is_final(self) -> bool:
        """Return True if the same request gets this code for ever, so that it may be stored."""
        return self.status in _FINAL


class Message(BaseModel):
    """Base of everything that travels: frozen and typed.

    A field that is not known is of another release: it is kept, and passed on
    (`labkit/runtime/evolution.py`). Who reads what strangers write, as the webs do, forbids it.

    Attributes:
        version: of a request or an event; raised by a change that older readers must not overlook.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    version: ClassVar[int] = 1
    _nested: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Note which fields are messages themselves.

        Raises:
            TypeError: a field has the name under which the version travels.
        """
        if "version" in cls.model_fields:
            raise TypeError(f"{cls.__name__}.version says which version of the message it is")
        cls._nested = tuple(
            name
            for name, field in cls.model_fields.items()
            if isinstance(field.annotation, type) and issubclass(field.annotation, Message)
        )

    def meaning(self) -> str:
        """Return what it says as JSON, without what has its default.

        Two releases write the same text for the same request, though one knows more fields.
        """
        return self.model_dump_json(exclude_defaults=True)

    def digest(self) -> str:
        """Return the hash of what it says, by which a retry is told from another request."""
        return hashlib.sha256(self.meaning().encode()).hexdigest()

    def says_more(self) -> bool:
        """Return True if it has a field that this release does not know, at any depth."""
        return bool(self.model_extra) or any(
            getattr(self, name).says_more() for name in self._nested
        )


T_co = TypeVar("T_co", covariant=True)


class Result(Message, Generic[T_co]):
    """The answer to a command or a query.

    Attributes:
        success: whether the command was carried out, or the query answered.
        code: a number of a catalogue.
        name: the code's constant, for people.
        message: what happened, to which order, and what to do next.
        data: the answer's data, where it has any.
    """

    success: bool
    code: int
    name: str
    message: str
    data: T_co | None = None

    @classmethod
    def ok(cls, data: T_co | None = None, message: str = "done") -> Self:
        """Return a success, with what it gave."""
        return cls(success=True, code=1, name="SUCCESS", message=message, data=data)

    @classmethod
    def refused(cls, code: ResultCode, message: str, data: T_co | None = None) -> Self:
        """Return a refusal; its message says why, and names the ids."""
        return cls(success=False, code=code, name=code.name, message=message, data=data)

    @classmethod
    def forward(cls, refusal: "Result[object]") -> Self:
        """Return the refusal of another call as this one's, without its data."""
        return cls(success=False, code=refusal.code, name=refusal.name, message=refusal.message)
