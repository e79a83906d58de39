"""Neighbouring releases: each reads what the other writes, and hashes one request alike.

The two releases stand side by side here, as classes: what 1.0 knows, and what 1.1 made of it.
"""

import json
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.results import Message
from labkit.runtime.evolution import FromTheFuture, Upcasts, known, read, write


class Request(Message):
    """What a client asks, in 1.0."""

    goods_id: int
    address: str


class Command(Message):
    """A call, in 1.0, which hands the request on."""

    order_id: int
    request: Request


class Request11(Message):
    """The same in 1.1."""

    goods_id: int
    address: str
    gift_note: str = ""


class Command11(Message):
    """The same in 1.1."""

    order_id: int
    request: Request11
    priority: int = 0


class Command20(Message):
    """In 2.0 the order is named by another field, and an older reader must not overlook it."""

    version: ClassVar[int] = 3

    number: int


def _renamed(fields: "dict[str, object]") -> "dict[str, object]":
    return {"id": fields["order_id"]}


UPCASTS: Upcasts = {Command20: {1: _renamed, 2: lambda fields: {"number": fields["id"]}}}  # type: ignore[dict-item]  # a dict is enough here
TEXT = st.text(max_size=20)


@given(st.integers(), TEXT, TEXT, st.integers(-5, 5))
def test_an_older_service_passes_on_what_it_does_not_know(
    number: int, address: str, note: str, priority: int
) -> None:
    """1.1 → 1.0 → 1.1: no field is lost on the way, at any depth."""
    sent = Command11(
        order_id=number,
        request=Request11(goods_id=1, address=address, gift_note=note),
        priority=priority,
    )
    between = read(Command, write(sent))
    handed_on = Command(order_id=between.order_id, request=between.request)
    assert read(Command11, write(between)) == sent
    assert read(Command11, write(handed_on)).request == sent.request


@given(st.integers(), TEXT)
def test_a_newer_service_reads_what_an_older_one_writes(number: int, address: str) -> None:
    """1.0 → 1.1: what is not said has its default."""
    sent = Command(order_id=number, request=Request(goods_id=1, address=address))
    received = read(Command11, write(sent))
    assert (received.request.gift_note, received.priority) == ("", 0)


@given(TEXT, TEXT, st.integers(-5, 5))
def test_both_releases_hash_a_request_alike(address: str, note: str, priority: int) -> None:
    """A step is given what its release knows, and hashes that: a field that came later, or has its
    default, makes no other request of it."""
    plain = Command(order_id=1, request=Request(goods_id=1, address=address))
    later = Command11(
        order_id=1,
        request=Request11(goods_id=1, address=address, gift_note=note),
        priority=priority,
    )
    assert known(read(Command, write(later))).digest() == plain.digest()
    assert known(read(Command11, write(plain))).digest() == plain.digest()
    other = later.model_copy(update={"priority": priority + 1})
    assert other.digest() != later.digest()


def test_a_step_is_given_what_its_release_knows() -> None:
    """At any depth; a command that says no more is handed on as it is."""
    later = Command11(order_id=1, request=Request11(goods_id=1, address="", gift_note="x"))
    read_by_older = read(Command, write(later))
    assert read_by_older.request.model_extra == {"gift_note": "x"}
    given = known(read_by_older)
    assert given == Command(order_id=1, request=Request(goods_id=1, address=""))
    assert known(given) is given
    assert known([1]) == [1]


def test_a_later_version_is_refused_and_says_so() -> None:
    """Whether or not the older release could make something of it: its meaning has changed."""
    later = write(Command20(number=7))
    assert json.loads(later) == {"version": 3, "number": 7}
    for text in (later, '{"version":2,"order_id":7,"request":{"goods_id":1,"address":""}}'):
        with pytest.raises(FromTheFuture, match="Command is of a later release"):
            read(Command, text)


@pytest.mark.parametrize(
    "text", ['{"order_id":7}', '{"version":2,"id":7}', '{"version":3,"number":7}']
)
def test_older_versions_are_brought_up_to_date(text: str) -> None:
    """Each by its own way, in as many stages as there are versions between."""
    assert read(Command20, text, UPCASTS) == Command20(number=7)


def test_a_version_that_nobody_can_read_is_an_error() -> None:
    """A gap between the upcasters is a defect of the release, and is named."""
    with pytest.raises(ValueError, match="nothing makes version 2 of Command20 from 1"):
        read(Command20, '{"order_id":7}', {Command20: {2: lambda fields: fields}})


ODD = {
    "a number": "7",
    "a list": "[]",
    "pairs": '[["order_id",7],["version",2]]',
    "a field of another type": '{"order_id":"x"}',
    "version 0": '{"version":0,"order_id":7}',
    "a version that is a text": '{"version":"2","order_id":7}',
    "a version that is true": '{"version":true,"order_id":7}',
    "no end": "{",
    "no end, after a version": '{"version":1',
    "brackets without end": "[" * 200_000,
    "brackets without end, and a version": '{"version":1,"a":' + "[" * 200_000,
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("kind", [Command, Command20])
def test_what_is_no_such_message_is_refused(kind: type[Message], name: str) -> None:
    """An error of the message itself is no matter of releases, and always of one kind."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 -- each text has another message
        read(kind, ODD[name], UPCASTS)
    assert not isinstance(caught.value, FromTheFuture)


def test_an_upcaster_that_fails_is_an_error_of_the_message() -> None:
    """Whatever it raises: one odd message must not end more than itself."""
    upcasts: Upcasts = {Command20: {1: lambda fields: fields["missing"], 2: lambda _: {}}}
    with pytest.raises(ValueError, match="this is no Command20: KeyError"):
        read(Command20, '{"order_id":7}', upcasts)


def test_an_unreadable_message_names_what_is_not_known() -> None:
    """It may be what another release calls the field that is missing."""
    with pytest.raises(ValueError, match=r"(?s)order_id.*Field required.*number.*not permitted"):
        read(Command, '{"number":7,"request":{"goods_id":1,"address":""}}')


@pytest.mark.filterwarnings("ignore:Field name")  # of pydantic, which lets it pass
def test_no_field_may_be_named_as_the_version() -> None:
    """It travels under that name, and would be taken for it."""
    with pytest.raises(TypeError, match="says which version"):
        type("Odd", (Message,), {"__annotations__": {"version": int}})
