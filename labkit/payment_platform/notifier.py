"""The notifier: carries notices to the merchant, many at once, and sees that each is answered.

It looks when a commit wrote a notice, and a few times a second for those whose next try has come.
A crash between sending and marking sends again, under the same `notify_id`.
"""

import asyncio
import logging
from contextlib import suppress

from aiohttp import ClientSession
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from labkit.payment_api.http import open_session
from labkit.payment_platform import notice_request, notices
from labkit.payment_platform.messages import DueNotices, Notice, NoticeTried
from labkit.payment_platform.wiring import PLATFORM
from labkit.runtime.db.database import Database
from labkit.runtime.injection.failpoints import Failpoints, Refused
from labkit.runtime.injection.network import NetworkPath

log = logging.getLogger(__name__)

_AT_ONCE = 32
_READ = 100  # how many notices wait in memory at most
_LOOK_SECONDS = 0.3
_ANSWER_SECONDS = 5.0
_HOLD_SECONDS = 1.0
_MERCHANT = "pay-web"  # where its notices go


class Notifier:
    """Sends the notices of one platform process.

    Args:
        database: the platform's.
        failpoints: crossed around each notice.
        key: the platform's private key.
    """

    def __init__(self, database: Database, failpoints: Failpoints, key: RSAPrivateKey) -> None:
        self._database = database
        self._failpoints = failpoints
        self._key = key
        self._way = NetworkPath(failpoints.standing, PLATFORM.name, _MERCHANT)
        self._written = asyncio.Event()
        self._queue: asyncio.Queue[Notice] = asyncio.Queue()
        self._taken: set[int] = set()  # queued or being sent
        self._more = False
        self._held: dict[int, asyncio.Event] = {}
        self._expected: dict[int, asyncio.Event] = {}

    def wake(self) -> None:
        """Look now: a notice was written."""
        self._written.set()

    def expect(self, out_trade_no: int) -> asyncio.Event:
        """What will be set when a notice of this trade has been sent."""
        return self._expected.setdefault(out_trade_no, asyncio.Event())

    async def run(self) -> None:
        """Work until cancelled."""
        async with (
            open_session(_AT_ONCE, _ANSWER_SECONDS) as session,
            asyncio.TaskGroup() as workers,
        ):
            for _ in range(_AT_ONCE):
                workers.create_task(self._work(session))
            while True:
                self._written.clear()
                await self._look()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._written.wait(), _LOOK_SECONDS)

    async def _look(self) -> None:
        """Take the notices that are due and that no worker has yet."""
        if not self._queue.empty():
            return
        limit = len(self._taken) + _READ
        try:
            due = await self._database.run(notices.find_due_notices, DueNotices(limit=limit))
        except Exception:  # the notifier outlives a database that is away
            log.exception("the notifier will look again")
            return
        self._more = len(due) == limit
        for notice in due:
            if notice.notify_id not in self._taken:
                self._taken.add(notice.notify_id)
                self._queue.put_nowait(notice)

    async def _work(self, session: ClientSession) -> None:
        while True:
            notice = await self._queue.get()
            if self._more and self._queue.empty():
                self.wake()
            try:
                await self._send_and_mark(session, notice)
            except Exception:  # it is due still, and is sent again
                log.exception("notice %d was perhaps sent, and not marked", notice.notify_id)
                await asyncio.sleep(_LOOK_SECONDS)
            self._taken.discard(notice.notify_id)

    async def _send_and_mark(self, session: ClientSession, notice: Notice) -> None:
        try:
            error = await self._send(session, notice)
        except Refused as refused:
            error = f"lost on its way: {refused}"
        self._tell_who_waits(notice)
        await self._database.run(
            notices.mark_notice,
            NoticeTried(notify_id=notice.notify_id, tries=notice.tries, error=error),
        )

    async def _send(self, session: ClientSession, notice: Notice) -> str:
        """Send a notice, as a failpoint would have it; what was answered in place of `success`."""
        action = await self._failpoints.act_async("platform.notify.before_notify")
        if action.verb == "reorder":
            await self._hold_back(notice)
        params = await notice_request.compose(notice, self._key, action.verb)
        error = await notice_request.post(session, notice.notify_url, params, self._way)
        if action.twice:
            error = await notice_request.post(session, notice.notify_url, params, self._way)
        await self._failpoints.act_async("platform.notify.after_notify")
        return error

    async def _hold_back(self, notice: Notice) -> None:
        """Wait until a later notice has gone, but not for ever: perhaps none comes."""
        overtaken = self._held[notice.notify_id] = asyncio.Event()
        with suppress(TimeoutError):
            await asyncio.wait_for(overtaken.wait(), _HOLD_SECONDS)
        del self._held[notice.notify_id]

    def _tell_who_waits(self, gone: Notice) -> None:
        for notify_id, overtaken in self._held.items():
            if notify_id < gone.notify_id:
                overtaken.set()
        if expected := self._expected.pop(gone.out_trade_no, None):
            expected.set()
