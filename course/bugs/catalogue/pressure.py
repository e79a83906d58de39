"""Bugs that show under pressure: a row that is held, a text that is long, a thread that ends."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

from course.bugs.bug import bug
from labkit.results import Message
from labkit.runtime import critical
from labkit.runtime.db import errors
from labkit.runtime.db.group_commit import GroupCommit
from labkit.runtime.db.held_rows import HeldRows
from labkit.runtime.db.row_keys import RowKey
from labkit.runtime.db.texts import CauseText
from labkit.runtime.errors import Overloaded
from labkit.runtime.injection import standing
from labkit.runtime.injection.standing import StandingFault, StandingFaults
from labkit.runtime.messaging import inbox
from labkit.runtime.messaging.consumer import EventConsumer
from labkit.runtime.messaging.inbox import Delivery, Failure
from labkit.runtime.registry.ids import NoIds

row_is_waited_for = bug(
    "held-row-is-waited-for",
    "A lock is held for a moment, and the database knows best how long to wait for it.",
    "rows-held",
    breaks="orders of goods 2 are placed",
)


@row_is_waited_for.replaces("labkit.runtime.db.held_rows:HeldRows.about")
@contextmanager
def _(
    _self: HeldRows, _key: RowKey | None, _connection: Connection, _cursor: Any
) -> Iterator[None]:
    yield


@row_is_waited_for.replaces("labkit.runtime.db.held_rows:HeldRows.in_time")
@contextmanager
def _(_self: HeldRows, _cursor: Any, _keys: Sequence[RowKey | None]) -> Iterator[None]:
    yield


row_is_an_outage = bug(
    "held-row-is-an-outage",
    "If a row is locked, the database has trouble: wait, and ask again.",
    "rows-held",
    breaks="user 2 has the money back",
    waits=True,
)


@row_is_an_outage.replaces("labkit.runtime.messaging.consumer:_is_away")
def _(error: Exception) -> bool:
    away = errors.is_away(error) or isinstance(error, (NoIds, Overloaded))
    return away or errors.is_held(error)


row_burns_a_try = bug(
    "held-row-burns-a-try",
    "A message that could not be handled was tried, whatever it was that stood in its way.",
    "rows-held",
    breaks="a held row burns a try",
    waits=True,
)


@row_burns_a_try.replaces("labkit.runtime.messaging.consumer:failure_of")
def _(delivery: Delivery, error: Exception) -> Failure:
    return Failure(delivery=delivery, error=f"{type(error).__name__}: {error}")


text_without_end = bug(
    "text-without-end",
    "What went wrong is kept in full, since nobody knows which part will be needed.",
    "long-cause",
    breaks="a record whose cause is long",
    waits=True,
)


@text_without_end.replaces("labkit.runtime.messaging.inbox:Failure")
class _WholeCause(Message):
    error: str


@text_without_end.replaces("labkit.runtime.db.texts:CauseText.process_bind_param")
def _(_self: CauseText, value: str | None, _dialect: Any) -> str | None:
    return value


@text_without_end.replaces("labkit.runtime.messaging.consumer:EventConsumer._store")
async def _(self: EventConsumer, failure: Failure) -> None:
    await self._database.run(inbox.keep_failure, failure)


thread_ends = bug(
    "thread-that-ends-is-not-noticed",
    "If a thread meets an error, Python prints it.",
    "slow-and-full",
    breaks="an order is placed after",
    waits=True,
)


@thread_ends.replaces("labkit.runtime.db.group_commit:GroupCommit.serve")
async def _(self: GroupCommit) -> None:
    while group := await self._grouping.next_group():
        await self._serve_group(group)


@thread_ends.replaces("labkit.runtime.injection.standing:StandingFaults.hit")
def _(self: StandingFaults, fault: StandingFault, times: int = 1) -> None:
    file = os.open(
        standing._hits_file(self._folder, fault), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
    )
    try:
        os.write(file, b"." * times)
    finally:
        os.close(file)


@thread_ends.replaces("labkit.runtime.critical:end_process")
def _(name: str, error: BaseException | None) -> None:
    critical.log.error("%s has ended: %s", name, error)
