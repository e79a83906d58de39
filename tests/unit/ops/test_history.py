"""Answers to clients are kept as they were told, whoever dies while one is written."""

import json
import os
from pathlib import Path

import httpx
import pytest

from labkit.home import Home
from labkit.ops.history import Exchange, History, RequestKind


@pytest.fixture
def history(tmp_path: Path) -> History:
    """A history that is kept."""
    history = History(Home(tmp_path / "home").make())
    history.start()
    return history


@pytest.fixture
def path(history: History, tmp_path: Path) -> Path:
    """Its file."""
    assert history.is_recording
    return Home(tmp_path / "home").history_file


def answer(status: int, **result: object) -> httpx.Response:
    return httpx.Response(status, json={"success": status == 200, "data": None, **result})


PLACED = answer(200, code=1, name="SUCCESS", message="done", data={"order_id": "7"})


def test_a_request_and_its_answer(history: History, path: Path) -> None:
    """Each is one record, in the order of the requests, readable by the owner alone."""
    history.record(RequestKind.PLACE, lambda: PLACED, subject="", key="k", body={"user_id": 1})
    history.record(
        RequestKind.FIND, lambda: answer(404, code=10006, name="N", message="none"), subject="9"
    )
    placed, answers = history.exchanges()
    assert (placed.kind, placed.key, placed.user_id) == (RequestKind.PLACE, "k", 1)
    assert (placed.status, placed.code, placed.order_id) == (200, 1, 7)
    assert (answers.status, answers.order_id, answers.message) == (404, 9, "none")
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_request_is_noted_before_it_is_sent(history: History) -> None:
    """A client that dies waiting, or gets no answer, leaves a request without an answer."""
    recorded: list[list[Exchange]] = []

    def send() -> httpx.Response:
        recorded.append(history.exchanges())
        raise httpx.ReadError("cut")

    with pytest.raises(httpx.ReadError):
        history.record(RequestKind.CANCEL, send, subject="3", body={"user_id": "1"})
    assert recorded == [history.exchanges()]
    assert [(record.kind, record.order_id, record.status) for record in history.exchanges()] == [
        (RequestKind.CANCEL, 3, 0)
    ]


@pytest.mark.parametrize("length", [1, 20, -2])
def test_a_torn_line_costs_only_itself(history: History, path: Path, length: int) -> None:
    """A writer was killed in the midst: what was written before and after it stands."""
    history.record(RequestKind.PLACE, lambda: PLACED, key="first", body={})
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(b"\n" + whole.strip().splitlines()[0][:length])
    history.record(RequestKind.PLACE, lambda: PLACED, key="second", body={})
    assert [(record.key, record.status) for record in history.exchanges()] == [
        ("first", 200),
        ("second", 200),
    ]


def test_an_answer_to_nothing_that_is_known_is_none(history: History, path: Path) -> None:
    """A reset empties the file while a client waits for its answer."""

    def send() -> httpx.Response:
        os.truncate(path, 0)
        return PLACED

    history.record(RequestKind.PLACE, send, key="k", body={})
    assert history.exchanges() == []


def test_nothing_is_noted_where_none_is_kept(tmp_path: Path) -> None:
    """Without the file requests are sent as ever, and none is made."""
    home = Home(tmp_path).make()
    assert History(home).record(RequestKind.FIND, lambda: PLACED, subject="7") is PLACED
    assert History(home).exchanges() == []
    assert not home.history_file.exists()


def test_a_request_that_cannot_be_noted_is_not_sent(history: History, path: Path) -> None:
    """A request that nobody could read later is not sent."""
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        history.record(RequestKind.FIND, lambda: pytest.fail("it was sent"), subject="7")


def test_what_is_no_answer_of_the_shop(history: History) -> None:
    """Of a page that somebody else answered the status is kept, and nothing is made of it."""
    history.record(RequestKind.FIND, lambda: httpx.Response(502, text="<html>"), subject="7")
    (record,) = history.exchanges()
    assert (record.status, record.code, record.data) == (502, 0, {})


def test_which_requests_are_the_same() -> None:
    """The same body under the same key; without a key each is its own."""
    first = Exchange(RequestKind.PLACE, "1", key="k", body={"a": 1, "b": 2})
    assert first.request == Exchange(RequestKind.PLACE, "2", key="k", body={"b": 2, "a": 1}).request
    assert first.request != Exchange(RequestKind.PLACE, "3", key="k", body={"a": 1, "b": 3}).request
    assert (
        Exchange(RequestKind.PLACE, "4", body={}).request
        != Exchange(RequestKind.PLACE, "5", body={}).request
    )
    assert first.request_hash is None  # it is no order
    assert json.loads(first.request.partition(" ")[2]) == {"a": 1, "b": 2}
