"""Bugs of the outbox, of sending, and of the inbox."""

from sqlalchemy import update

from labkit.runtime import outbox, relay, tables
from labkit.runtime.outbox import Parcel
from labkit.runtime.relay import Relay
from labkit.runtime.steps import Transaction
from tests.bugs.bug import bug

not_sent_again = bug(
    "not-sent-again",
    "The relay is told of each event at its commit, so nobody has to look for what was left.",
    "cancelled:order.cancel_by_user.after_commit",
    breaks="order_cancel is not sent", mirrors=11,
)  # fmt: skip


@not_sent_again.replaces("labkit.runtime.outbox:claim_unsent")
def _(tx: Transaction, _command: None) -> list[Parcel]:
    new = (tables.outbox.c.status == tables.UNSENT) & (tables.outbox.c.tries == 0)
    tx.execute(update(tables.outbox).where(new).values(next_try=2**60))
    return outbox._claim(tx, tables.UNSENT)


settled_at_the_acknowledgement = bug(
    "settled-at-the-acknowledgement",
    "The broker has acknowledged it for all replicas, so it will arrive.",
    "forgotten:order.cancel_by_user.after_commit",
    breaks="settled events arrived",
)  # fmt: skip


@settled_at_the_acknowledgement.replaces("labkit.runtime.relay:Relay._mark_sent")
async def _(self: Relay, parcel: Parcel) -> None:
    try:
        await self._database.run(outbox.mark_sent, [parcel.event_id])
        await self._database.run(outbox.mark_settled, [parcel.event_id])
    except Exception:
        relay.log.exception("event %d of %s is not marked", parcel.event_id, self._service)
