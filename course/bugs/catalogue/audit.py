"""Bugs of the audit, which asks every group whether it has what was sent to it."""

from datetime import datetime
from typing import Any

from course.bugs.bug import bug
from labkit.runtime.db.tables import SENT, SETTLED
from labkit.runtime.db.transaction import Transaction
from labkit.runtime.messaging import outbox
from labkit.runtime.messaging.addresses import Subscriptions
from labkit.runtime.messaging.audit import Findings, PatientAdmin
from labkit.runtime.messaging.outbox import OutboxMessage

settled_without_a_new_group = bug(
    "settled-without-a-new-group",
    "All groups that were asked have it, so it is at its end.",
    "wired-meanwhile",
    breaks="settled without log",
)


@settled_without_a_new_group.replaces("labkit.runtime.messaging.outbox:_settled")
def _(event_id: int, _audited: str, now: datetime) -> Any:
    values = {"status": SETTLED, "settled_time": now, "last_error": None}
    return outbox._update(event_id, SENT).values(**values)


addressed_at_the_start_only = bug(
    "addressed-at-the-start-only",
    "Who must have an event is looked at when a release starts; after that nobody writes to fewer.",
    "wired-later",
    breaks="addressed to all who must have it",
    waits=True,
)


@addressed_at_the_start_only.replaces("labkit.runtime.messaging.addresses:lacks_addresses")
def _(_tx: Transaction, _subscriptions: Subscriptions) -> bool:
    return False


lag_is_loss = bug(
    "lag-is-loss",
    "A group that lacks what the broker acknowledged has lost it.",
    "locked-while-sent",
    breaks="what goods has not read yet was sent again",
)


@lag_is_loss.replaces("labkit.runtime.messaging.audit:_tell_lag_from_loss")
async def _(
    _admin: PatientAdmin,
    group: str,
    lacked: list[OutboxMessage],
    _audit_delay: float,
    findings: Findings,
) -> None:
    for message in lacked:
        findings.lost[message.event_id].append(group)
