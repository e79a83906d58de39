"""Notices (异步通知): tell the merchant how a trade ended, until it answers `success`.

A notice's row is written in the transaction that ends the trade, so that no crash can lose it. The
notifier sends it at once, and then on Alipay's growing interval, by the lab clock.
"""

from datetime import datetime

from sqlalchemy import Executable, Update, select, update

from labkit.payment_platform.messages import DueNotices, Notice, NoticeTried
from labkit.payment_platform.tables import notice, trade
from labkit.runtime.backoff import Backoff
from labkit.runtime.db.statements import statement
from labkit.runtime.db.texts import shorten
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.steps import step

_MINUTE, _HOUR = 60, 3600
#: Alipay's intervals: from each try to the next one.
SCHEDULE = Backoff(
    (4 * _MINUTE, 10 * _MINUTE, 10 * _MINUTE, _HOUR, 2 * _HOUR, 6 * _HOUR, 15 * _HOUR), ends=True
)


@statement
def _due(now: datetime, limit: int) -> Executable:
    about = (
        trade.c.out_trade_no,
        trade.c.trade_no,
        trade.c.trade_status,
        trade.c.subject,
        trade.c.total_amount,
        trade.c.pay_time,
        trade.c.notify_url,
    )
    of_trade = notice.join(trade, notice.c.out_trade_no == trade.c.out_trade_no)
    columns = select(notice.c.notify_id, notice.c.tries, *about).select_from(of_trade)
    return columns.where(notice.c.next_try <= now).order_by(notice.c.next_try).limit(limit)


@statement
def _answered(notify_id: int, tries: int, now: datetime) -> Executable:
    answered = {"answer_time": now, "next_try": None, "last_error": None}
    return _tried(notify_id, tries).values(answered)


@statement
def _unanswered(notify_id: int, tries: int, next_try: datetime | None, error: str) -> Executable:
    return _tried(notify_id, tries).values(next_try=next_try, last_error=error)


def _tried(notify_id: int, tries: int) -> Update:
    as_it_was = (notice.c.notify_id == notify_id) & (notice.c.tries == tries)
    return update(notice).where(as_it_was).values(tries=notice.c.tries + 1)


def write(tx: Transaction) -> None:
    """Write the notices of the trades that a transaction ended: due at once."""
    for notify_id, ended in tx.emitted:
        tx.insert(
            notice,
            notify_id=notify_id,
            out_trade_no=ended.order_id,
            tries=0,
            next_try=tx.now,
            add_time=tx.now,
        )


@step(reads=True)
def find_due_notices(tx: Transaction, query: DueNotices) -> list[Notice]:
    """Find the notices that are due, the most overdue first."""
    rows = tx.run(_due(tx.now, query.limit)).rows
    return [Notice(now=tx.now, **row._asdict()) for row in rows]


@step()
def mark_notice(tx: Transaction, tried: NoticeTried) -> None:
    """Record that a notice was answered, or when it is sent again."""
    if not tried.error:
        tx.expect_update(_answered(tried.notify_id, tried.tries, tx.now))
        return
    next_try = None if SCHEDULE.is_over(tried.tries) else tx.now + SCHEDULE.delay(tried.tries)
    tx.expect_update(_unanswered(tried.notify_id, tried.tries, next_try, shorten(tried.error, 255)))
