"""The tables that every service database has beside its own."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects import mysql

from labkit.runtime.db.texts import CauseText

metadata = MetaData()

#: Business times, UTC without zone, from the lab clock.
Moment = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
#: Ids, cents and wall-clock milliseconds.
Whole = BigInteger


class EnumInteger(TypeDecorator[int]):
    """The type of a column with a closed set of numbers: a driver gets a plain integer.

    PyMySQL would take a member of an `IntEnum` for a text.
    """

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: int | None, _dialect: Dialect) -> int | None:
        """Return the number of a member."""
        return None if value is None else int(value)


operation = Table(
    "trade_operation",
    metadata,
    Column("order_id", Whole, primary_key=True, autoincrement=False),
    Column("operation", String(40), primary_key=True),
    Column("outcome", String(10), nullable=False),  # applied, refused, blocked, undone
    Column("amount", Whole, nullable=False),
    Column("body_hash", String(64), nullable=False),
    Column("result", Text, nullable=False),
    Column("add_time", Moment, nullable=False),
)

#: The transactional outbox, MQ消息生产表.
outbox = Table(
    "trade_mq_producer",
    metadata,
    Column("event_id", Whole, primary_key=True, autoincrement=False),
    Column("topic", String(64), nullable=False),
    Column("tag", String(64), nullable=False),
    Column("msg_key", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("groups", String(255), nullable=False),  # who must have it, comma between
    Column("status", Integer, nullable=False),  # UNSENT, SENT, SETTLED, GIVEN_UP
    Column("tries", Integer, nullable=False),
    Column(
        "next_try", Whole, nullable=False
    ),  # wall-clock ms: the end of the lease, or of the wait before the audit
    Column("add_time", Moment, nullable=False),
    Column("sent_time", Moment),
    Column("settled_time", Moment),
    Column("last_error", CauseText),
    Column("trace", String(55)),  # traceparent of the step that told it, where it was traced
    Index("producer_due", "status", "next_try"),
)
UNSENT, SENT, SETTLED, GIVEN_UP = 0, 1, 2, 3

#: The inbox, MQ消息消费表.
inbox = Table(
    "trade_mq_consumer_log",
    metadata,
    Column("group_name", String(64), primary_key=True),
    Column("event_id", Whole, primary_key=True, autoincrement=False),
    Column("topic", String(64), nullable=False),
    Column("tag", String(64), nullable=False),
    Column("msg_key", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("body_hash", String(64), nullable=False),
    Column("status", Integer, nullable=False),  # WAITING, DONE, DEAD
    Column("tries", Integer, nullable=False),
    Column("next_try", Whole, nullable=False),  # wall-clock ms
    Column("add_time", Moment, nullable=False),
    Column("done_time", Moment),
    Column("last_error", CauseText),
    Column("trace", String(55)),  # as it came with the message
    Index("consumer_due", "status", "next_try"),
)
WAITING, DONE, DEAD = 0, 1, 2

#: What went of the two above because it was settled, 消息清理表: a row for each of them. An inbox
#: takes at once what is newer than `last_event`. A sender's word about an older event holds for the
#: `rounds` in which it was asked for. `horizon` is for whoever checks: nothing that went is about
#: anything newer.
forgotten = Table(
    "trade_mq_forgotten",
    metadata,
    Column("part", String(10), primary_key=True),  # outbox, inbox
    Column("last_event", Whole, nullable=False),  # the highest id of an event that went
    Column("horizon", Whole, nullable=False),  # the highest id in any of them, of whatever
    Column("rounds", Whole, nullable=False),  # how often some went
    Column("messages", Whole, nullable=False),  # how many went
)
OUTBOX, INBOX = "outbox", "inbox"
#: Its rows in every database, from the beginning: there is always one to lock.
NOTHING_FORGOTTEN = [
    {"part": part, "last_event": 0, "horizon": 0, "rounds": 0, "messages": 0}
    for part in (OUTBOX, INBOX)
]
#: Tag of the message that a fault of this name puts into an outbox: no service sends it.
POISON = "poison"

RUNTIME_TABLES = (operation, outbox, inbox, forgotten)
