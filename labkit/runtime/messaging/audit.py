"""The audit: it asks each group which messages it has, and takes no lag for a loss.

A group that lacks a message may have lost it, or not have read it yet. Sent again, a message that
only waits lengthens the queue in which it waits. So the audit asks a group that lacks something
once more, behind all that waits for its database, and how far the group has read.
"""

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from labkit.runtime.errors import Unknown
from labkit.runtime.messaging.admin import AdminService
from labkit.runtime.messaging.forgetting import Held, HeldQuery
from labkit.runtime.messaging.inbox import Missing, MissingQuery, fingerprint
from labkit.runtime.messaging.outbox import MissingFrom, OutboxMessage
from labkit.runtime.messaging.reading import NEVER_S, LostQuery, Reading

A = TypeVar("A")

#: How long ago, at least, a group may have read a partition to its end: an idle consumer looks as
#: often.
_MIN_PATIENCE_S = 0.4
_STEP_S, _MAX_STEPS = 0.5, 10
#: And in the end: more than an idle consumer is ever behind, which notes a look when it is over.
_LAST_PATIENCE_S = 1.0

GroupsByEvent = defaultdict[int, list[str]]


@dataclass
class Findings:
    """The answers of all groups.

    Attributes:
        lost: event id → groups that have no row for it, and will get none by themselves.
        foreign: event id → groups that have another message under it.
        waiting: cause → events that must be asked for again.
    """

    lost: GroupsByEvent = field(default_factory=lambda: defaultdict(list))
    foreign: GroupsByEvent = field(default_factory=lambda: defaultdict(list))
    waiting: dict[str, list[OutboxMessage]] = field(default_factory=dict)

    def missing(self) -> list[MissingFrom]:
        """Put together the events that the same groups lack, or have another message for."""
        waiting = self._waiting_ids()
        events = defaultdict[tuple[tuple[str, ...], tuple[str, ...]], list[int]](list)
        for event_id in sorted(self.lost.keys() | (self.foreign.keys() - waiting)):
            foreign = () if event_id in waiting else tuple(self.foreign.get(event_id, ()))
            events[tuple(self.lost.get(event_id, ())), foreign].append(event_id)
        return [
            MissingFrom(event_ids=tuple(ids), groups=groups, foreign=foreign)
            for (groups, foreign), ids in events.items()
        ]

    def arrived(self, messages: Iterable[OutboxMessage]) -> list[OutboxMessage]:
        """Return the events that every group has that must have them."""
        still_open = self._waiting_ids() | self.lost.keys() | self.foreign.keys()
        return [message for message in messages if message.event_id not in still_open]

    def _waiting_ids(self) -> set[int]:
        return {message.event_id for messages in self.waiting.values() for message in messages}


class PatientAdmin:
    """The admin service of another service, not asked again at once where it did not answer.

    Each question takes the time of a call then. A relay that audits one batch after another would
    do nothing but wait, also with the messages of other groups.

    Args:
        admin: of the other service.
        pause_s: for which a question is not asked again.
        monotonic: reads the monotonic clock.
    """

    def __init__(
        self,
        admin: AdminService,
        pause_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._admin = admin
        self._pause_s = pause_s
        self._monotonic = monotonic
        self._silent: dict[str, tuple[float, str]] = {}  # question → until then, and the cause

    async def find_missing(self, query: MissingQuery) -> Missing:
        """Ask, as `AdminService` has it."""
        return await self._ask("find_missing", lambda: self._admin.find_missing(query))

    async def find_lost(self, query: LostQuery) -> Reading:
        """Ask, as `AdminService` has it."""
        return await self._ask("find_lost", lambda: self._admin.find_lost(query))

    async def find_held(self, query: HeldQuery) -> Held:
        """Ask, as `AdminService` has it."""
        return await self._ask("find_held", lambda: self._admin.find_held(query))

    async def _ask(self, question: str, ask: Callable[[], Awaitable[A]]) -> A:
        until, cause = self._silent.get(question, (0.0, ""))
        if self._monotonic() < until:
            raise Unknown(cause)
        try:
            return await ask()
        except Unknown as unknown:
            self._silent[question] = self._monotonic() + self._pause_s, str(unknown)
            raise


async def ask_groups(
    admin_of: Callable[[str], PatientAdmin], messages: list[OutboxMessage], audit_delay: float
) -> Findings:
    """Ask each group which of its messages it has.

    Args:
        admin_of: group → the admin service of the service that consumes for it.
        messages: that the broker has acknowledged.
        audit_delay: seconds that have passed since, at least.
    """
    findings = Findings()
    for group in sorted({group for message in messages for group in message.groups}):
        addressed = [message for message in messages if group in message.groups]
        query = MissingQuery(group=group, fingerprints=_fingerprints(addressed))
        try:
            missing = await admin_of(group).find_missing(query)
        except Unknown as unknown:
            findings.waiting[str(unknown)] = addressed
            continue
        for event_id in missing.foreign:
            findings.foreign[event_id].append(group)
        if missing.lost:
            lacked = [message for message in addressed if message.event_id in missing.lost]
            await _tell_lag_from_loss(admin_of(group), group, lacked, audit_delay, findings)
    return findings


async def _tell_lag_from_loss(
    admin: PatientAdmin,
    group: str,
    lacked: list[OutboxMessage],
    audit_delay: float,
    findings: Findings,
) -> None:
    """Ask once more for what a group lacks; let wait what the group may not have read yet."""
    routes = {message.event_id: (message.topic, message.key) for message in lacked}
    query = LostQuery(group=group, fingerprints=_fingerprints(lacked), routes=routes)
    try:
        reading = await admin.find_lost(query)
    except Unknown as unknown:
        findings.waiting[str(unknown)] = lacked
        return
    for event_id in reading.missing.foreign:
        findings.foreign[event_id].append(group)
    unread = []
    for message in (message for message in lacked if message.event_id in reading.missing.lost):
        behind_s = reading.behind_s.get(message.event_id, NEVER_S)
        if behind_s > _patience_s(message, audit_delay):
            unread.append(message)
        else:
            findings.lost[message.event_id].append(group)
    if unread:
        findings.waiting[f"{group} lags behind, and has not read it yet"] = unread


def _patience_s(message: OutboxMessage, audit_delay: float) -> float:
    """Return how long ago a group may have read all there was, to have read past a message.

    It grows with the time that the message has been there at least, so that also a group that is
    busy all the time is believed in the end. After many tries a message is rather sent once too
    often.
    """
    if message.tries + 1 >= _MAX_STEPS:
        return max(_LAST_PATIENCE_S, min(audit_delay, _STEP_S) * _MAX_STEPS)
    waited = min(audit_delay, _STEP_S) * (1 + message.tries)
    return max(_MIN_PATIENCE_S, waited)


def _fingerprints(messages: list[OutboxMessage]) -> dict[int, str]:
    return {
        message.event_id: fingerprint(message.topic, message.tag, message.key, message.body)
        for message in messages
    }
