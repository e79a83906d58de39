"""A message that no handler can read: put into an outbox, and later put aside in each inbox."""

import hashlib
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from labkit.faults.undo_notes import undo_action
from labkit.home import Home
from labkit.runtime.clock import LabClock, wall_ms_of
from labkit.runtime.db.engines import open_engine
from labkit.runtime.db.tables import DONE, POISON, UNSENT, inbox, outbox
from labkit.runtime.registry.ids import SEQUENCE_BITS, WORKERS, first_of
from labkit.shop.wiring import GROUPS, SERVICES

#: The largest number of unknown fields that fit into an event.
MAX_FIELDS = 700
_KEY = "poison"
_ASIDE = "put aside: it was poison"


@undo_action
def put_poison_aside(home: Home, topic: str, event_id: int, fields: int = 1) -> None:
    """Mark a poisoned message as done in each inbox."""
    Poison(home, topic, fields, event_id).put_aside()


class Poison:
    """One message that no handler can read.

    Args:
        home: of the lab.
        topic: to which it is sent.
        fields: the number of its unknown fields.
        event_id: of a message that was sent; a new one by default.
    """

    def __init__(
        self, home: Home, topic: str, fields: int = 1, event_id: int | None = None
    ) -> None:
        self._home = home
        self._topic = topic
        self._groups = GROUPS[topic]
        self._body = json.dumps(
            {"poison": "no handler can read this"} | {str(number): 0 for number in range(1, fields)}
        )
        sequence = random.randrange(1 << SEQUENCE_BITS)
        # of the highest worker number, which is the last to be leased
        new = first_of(wall_ms_of(home)) | (WORKERS - 1) << SEQUENCE_BITS | sequence
        self.event_id = event_id or new

    def send(self) -> None:
        """Put it into the outbox of a service that sends to the topic, due now.

        Of the services that send `paid` it takes order: an invariant reads all that pay sends.
        """
        sender = next(
            name
            for name, service in SERVICES.items()
            if any(event.topic == self._topic for event in service.emits)
        )
        row = {
            **self._columns(),
            "groups": ",".join(self._groups),
            "status": UNSENT,
            "tries": 0,
            "next_try": wall_ms_of(self._home),
        }
        with self._writing(sender) as connection:
            connection.execute(insert(outbox).values(**row))

    def kept(self) -> int:
        """Count the inboxes that keep it with its cause."""
        return sum(self._cause(group) is not None for group in self._groups)

    def put_aside(self) -> None:
        """Mark it as done in each inbox, also where it has not come yet: it may come."""
        for group in self._groups:
            if not self._end(group) and not self._begin_ended(group):
                self._end(group)  # it came just then

    def _cause(self, group: str) -> str | None:
        with self._writing(group) as connection:
            query = select(inbox.c.last_error).where(self._is_mine(group))
            cause: str | None = connection.execute(query).scalar()
            return cause

    def _end(self, group: str) -> bool:
        """Mark the row as done, whatever its status; return False if there is none."""
        cause = f"{_ASIDE}: {self._cause(group)}"
        done = {"status": DONE, "done_time": self._now(), "last_error": cause}
        with self._writing(group) as connection:
            end = update(inbox).where(self._is_mine(group)).values(**done)
            return bool(connection.execute(end).rowcount)

    def _begin_ended(self, group: str) -> bool:
        """Insert a row that is done from the start; return False if there is one already."""
        row = {
            **self._columns(),
            "group_name": group,
            "status": DONE,
            "tries": 0,
            "next_try": 0,
            "body_hash": hashlib.sha256(self._body.encode()).hexdigest(),
            "done_time": self._now(),
            "last_error": f"{_ASIDE}, before it came",
        }
        try:
            with self._writing(group) as connection:
                connection.execute(insert(inbox).values(**row))
        except IntegrityError:
            return False
        return True

    def _columns(self) -> dict[str, object]:
        """Return the columns that outbox and inbox share."""
        return {
            "event_id": self.event_id,
            "topic": self._topic,
            "tag": POISON,
            "msg_key": _KEY,
            "body": self._body,
            "add_time": self._now(),
        }

    def _is_mine(self, group: str) -> ColumnElement[bool]:
        return (inbox.c.group_name == group) & (inbox.c.event_id == self.event_id)

    def _now(self) -> datetime:
        return LabClock(self._home.clock_file).now()

    @contextmanager
    def _writing(self, service: str) -> Iterator[Connection]:
        engine = open_engine(self._home.database_url(service))
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()
