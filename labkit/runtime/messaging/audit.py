"""The audit: each group is asked which messages it has, and what it has not yet is no loss.

A group that lacks a message may have lost it, or not have read it yet. Sent again, a message that
only waits makes the queue longer that it waits in. So a group that lacks something is asked once
more, behind all that waits for its database, and says how far it has read.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from labkit.runtime.errors import Unknown
from labkit.runtime.messaging.admin import AdminService
from labkit.runtime.messaging.inbox import Missing, MissingQuery, fingerprint
from labkit.runtime.messaging.outbox import MissingFrom, OutboxMessage
from labkit.runtime.messaging.reading import Reading

#: How old the end of a topic may be that a group has read to: an idle consumer looks as often.
_LEAST_PATIENCE_S = 0.4
_STEP_S, _MOST_STEPS = 0.5, 10

Lacked = defaultdict[int, list[str]]


@dataclass
class Findings:
    """What came of asking.

    Attributes:
        lost: event id → groups that have no row for it, and will get none by themselves.
        foreign: event id → groups that have another message under it.
        waiting: cause → events that must be asked for again.
    """

    lost: Lacked = field(default_factory=lambda: defaultdict(list))
    foreign: Lacked = field(default_factory=lambda: defaultdict(list))
    waiting: dict[str, list[OutboxMessage]] = field(default_factory=dict)

    def lacking(self) -> list[MissingFrom]:
        """Put together the events that the same groups lack, or have another message for."""
        waiting = {parcel.event_id for parcels in self.waiting.values() for parcel in parcels}
        events = defaultdict[tuple[tuple[str, ...], tuple[str, ...]], list[int]](list)
        for event_id in sorted(self.lost.keys() | (self.foreign.keys() - waiting)):
            others = () if event_id in waiting else tuple(self.foreign.get(event_id, ()))
            events[tuple(self.lost.get(event_id, ())), others].append(event_id)
        return [
            MissingFrom(event_ids=tuple(ids), groups=groups, foreign=others)
            for (groups, others), ids in events.items()
        ]

    def arrived(self, parcels: Iterable[OutboxMessage]) -> list[OutboxMessage]:
        """Return the events that every group has that must have them."""
        waiting = {parcel.event_id for others in self.waiting.values() for parcel in others}
        open_still = waiting | self.lost.keys() | self.foreign.keys()
        return [parcel for parcel in parcels if parcel.event_id not in open_still]


class Asked:
    """The desk of a group, where who gave no answer is not asked the same again at once.

    Each question takes the time of a call then. Whoever audits much, a batch after the other, would
    do nothing but wait, also with the messages of others.

    Args:
        desk: of the service that consumes for the group.
        pause_s: for which it is not asked.
    """

    def __init__(self, desk: AdminService, pause_s: float) -> None:
        self._desk = desk
        self._pause_s = pause_s
        self._silent: dict[str, tuple[float, str]] = {}  # question → until then, and the cause

    async def find_missing(self, query: MissingQuery) -> Missing:
        """Ask, as `AdminService` has it."""
        missing: Missing = await self._ask("find_missing", query)
        return missing

    async def find_lost(self, query: MissingQuery) -> Reading:
        """Ask, as `AdminService` has it."""
        reading: Reading = await self._ask("find_lost", query)
        return reading

    async def _ask(self, question: str, query: MissingQuery) -> Any:
        until, cause = self._silent.get(question, (0.0, ""))
        if time.monotonic() < until:
            raise Unknown(cause)
        try:
            return await getattr(self._desk, question)(query)
        except Unknown as unknown:
            self._silent[question] = time.monotonic() + self._pause_s, str(unknown)
            raise


async def ask_groups(
    desk_of: Callable[[str], Asked], parcels: list[OutboxMessage], audit_delay: float
) -> Findings:
    """Ask each group which of its messages it has.

    Args:
        desk_of: group → the desk of the service that consumes for it.
        parcels: events that the broker has acknowledged.
        audit_delay: seconds that have passed since, at least.
    """
    findings = Findings()
    for group in sorted({group for parcel in parcels for group in parcel.groups}):
        theirs = [parcel for parcel in parcels if group in parcel.groups]
        try:
            missing = await desk_of(group).find_missing(_query(group, theirs))
        except Unknown as unknown:
            findings.waiting[str(unknown)] = theirs
            continue
        for event_id in missing.foreign:
            findings.foreign[event_id].append(group)
        if missing.lost:
            lacked = [parcel for parcel in theirs if parcel.event_id in missing.lost]
            await _tell_lag_from_loss(desk_of(group), group, lacked, audit_delay, findings)
    return findings


async def _tell_lag_from_loss(
    desk: Asked, group: str, lacked: list[OutboxMessage], audit_delay: float, findings: Findings
) -> None:
    """Ask once more for what a group lacks: it waits for what the group may not have read yet."""
    try:
        reading = await desk.find_lost(_query(group, lacked))
    except Unknown as unknown:
        findings.waiting[str(unknown)] = lacked
        return
    for event_id in reading.missing.foreign:
        findings.foreign[event_id].append(group)
    unread = []
    for parcel in (parcel for parcel in lacked if parcel.event_id in reading.missing.lost):
        if reading.behind_s > _patience(parcel, audit_delay):
            unread.append(parcel)
        else:
            findings.lost[parcel.event_id].append(group)
    if unread:
        findings.waiting[f"{group} lags behind, and has not read it yet"] = unread


def _patience(parcel: OutboxMessage, audit_delay: float) -> float:
    """Return how long ago a group may have read all there was, to have read past a message.

    It grows with the time that the message has been there at least, so that also a group that is
    busy all the time is believed in the end.
    """
    waited = min(audit_delay, _STEP_S) * min(1 + parcel.tries, _MOST_STEPS)
    return max(_LEAST_PATIENCE_S, waited)


def _query(group: str, parcels: list[OutboxMessage]) -> MissingQuery:
    return MissingQuery(
        group=group,
        fingerprints={
            parcel.event_id: fingerprint(parcel.topic, parcel.tag, parcel.key, parcel.body)
            for parcel in parcels
        },
    )
