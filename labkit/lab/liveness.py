"""That everything ends: the invariants about time, as functions over a reader.

Half a minute is what the longest delay between two tries and the slowest return leave room for. It
is measured by the wall clock from an id or a next try; while a fault lasts for longer, a breach is
just what there is to say.
"""

from typing import Any

from sqlalchemy import func, select

from labkit.lab.crossings import Finding
from labkit.lab.data import Reader
from labkit.runtime import tables as rt
from labkit.runtime.clock import wall_ms
from labkit.runtime.ids import first_of
from labkit.shop import tables as t

_LATE_MS = 30_000


def messages_arrive_in_time(reader: Reader) -> Finding:
    """No event is unsettled long after it was told, unless a person gave it up."""
    box = rt.outbox.c
    old = box.status.in_((rt.UNSENT, rt.SENT)) & (box.event_id < first_of(wall_ms() - _LATE_MS))
    finding = Finding(0)
    for service in t.TABLES:
        finding.looked_at += _count(reader, service, box.event_id)
        for row in reader.query(service, select(box.event_id, box.topic).where(old)):
            text = f"event {row['event_id']} ({row['topic']} of {service}) has not arrived"
            finding.broken.append(text)
    return finding


def refunds_are_answered_in_time(reader: Reader) -> Finding:
    """No refund is open long after it was decided, unless a person gave it up."""
    old = t.refund.c.refund_id < first_of(wall_ms() - _LATE_MS)
    late = select(t.refund.c.refund_id).where(t.refund.c.state == t.REFUND_OPEN, old)
    rows = reader.query("pay", late)
    looked_at = _count(reader, "pay", t.refund.c.refund_id)
    return Finding(looked_at, [f"refund {row['refund_id']} is not answered" for row in rows])


def nothing_is_forgotten(reader: Reader) -> Finding:
    """What waits for its next try has one, and that is not long over."""
    late = wall_ms() - _LATE_MS
    finding = Finding(0)
    inbox, pay, refund = rt.inbox.c, t.pay.c, t.refund.c
    for service in t.TABLES:
        due = (inbox.status == rt.WAITING) & (inbox.next_try < late)
        _forgotten(reader, finding, service, inbox.event_id, due)
    unasked = (pay.is_paid == t.PAY_OPEN) & pay.next_check.is_(None) & pay.last_error.is_(None)
    _forgotten(reader, finding, "pay", pay.pay_id, (pay.next_check < late) | unasked)
    unsent = (refund.state == t.REFUND_OPEN) & (refund.next_try < late)
    _forgotten(reader, finding, "pay", refund.refund_id, unsent)
    return finding


def _forgotten(reader: Reader, finding: Finding, service: str, key: Any, which: Any) -> None:
    finding.looked_at += _count(reader, service, key)
    for row in reader.query(service, select(key.label("number")).where(which)):
        finding.broken.append(f"nobody tries {service}.{row['number']}")


def _count(reader: Reader, service: str, key: Any) -> int:
    return int(reader.query(service, select(func.count(key).label("number")))[0]["number"])
