"""The notifier: sends notices to the merchant, many at once, until each is answered.

It queries when a commit wrote a notice, and a few times a second for those that fall due. After a
crash between sending and marking it sends again, under the same `notify_id`.
"""

import asyncio
import logging
from contextlib import suppress

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from labkit.payment_api.http import Poster
from labkit.payment_platform import notice_request, notices
from labkit.payment_platform.messages import DueNotices, Notice, NoticeTried
from labkit.runtime.injection.failpoints import Failpoints, Refused
from labkit.runtime.messaging.ports import StepRunner

log = logging.getLogger(__name__)

#: Notices on their way at once.
WORKERS = 32
_MAX_QUEUED = 100  # notices in memory
_POLL_S = 0.3
_MAX_HOLD_S = 1.0


class Notifier:
    """Sends the notices of one platform process.

    Args:
        database: the platform's.
        failpoints: crossed around each notice.
        key: the platform's private key.
        poster: posts them; it is closed when the notifier ends.
        workers: how many are on their way at once.
    """

    def __init__(
        self,
        database: StepRunner,
        failpoints: Failpoints,
        key: RSAPrivateKey,
        poster: Poster,
        workers: int = WORKERS,
    ) -> None:
        self._database = database
        self._failpoints = failpoints
        self._key = key
        self._poster = poster
        self._workers = workers
        self._written = asyncio.Event()
        self._queue: asyncio.Queue[Notice] = asyncio.Queue()
        self._in_progress: set[int] = set()  # queued or being sent
        self._more = False
        self._held: dict[int, asyncio.Event] = {}
        self._expected: dict[int, asyncio.Event] = {}

    def wake(self) -> None:
        """Query now, because a notice was written."""
        self._written.set()

    def expect(self, out_trade_no: int) -> asyncio.Event:
        """Return an event that is set when a notice of this trade has been sent."""
        return self._expected.setdefault(out_trade_no, asyncio.Event())

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._workers):
                    workers.create_task(self._work())
                await self._watch()
        finally:
            await self._poster.close()

    async def _watch(self) -> None:
        """Queue what is due, until cancelled."""
        while True:
            self._written.clear()
            await self._queue_due()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._written.wait(), _POLL_S)

    async def _queue_due(self) -> None:
        """Queue the due notices that no worker has yet."""
        if not self._queue.empty():
            return
        limit = len(self._in_progress) + _MAX_QUEUED
        try:
            due = await self._database.run(notices.find_due_notices, DueNotices(limit=limit))
        except Exception:  # the notifier outlives a database that is away
            log.exception("the notifier will look again")
            return
        self._more = len(due) == limit
        for notice in due:
            if notice.notify_id not in self._in_progress:
                self._in_progress.add(notice.notify_id)
                self._queue.put_nowait(notice)

    async def _work(self) -> None:
        while True:
            notice = await self._queue.get()
            if self._more and self._queue.empty():
                self.wake()
            try:
                await self._send_and_mark(notice)
            except Exception:  # it is still due, and is sent again
                log.exception("notice %d was perhaps sent, and not marked", notice.notify_id)
                await asyncio.sleep(_POLL_S)
            self._in_progress.discard(notice.notify_id)

    async def _send_and_mark(self, notice: Notice) -> None:
        try:
            error = await self._send(notice)
        except Refused as refused:
            error = f"lost on its way: {refused}"
        self._wake_waiters(notice)
        await self._database.run(
            notices.mark_notice,
            NoticeTried(notify_id=notice.notify_id, tries=notice.tries, error=error),
        )

    async def _send(self, notice: Notice) -> str:
        """Send a notice, as a failpoint asks; return the answer in place of `success`."""
        action = await self._failpoints.act_async("platform.notify.before_notify")
        if action.verb == "reorder":
            await self._hold_back(notice)
        params = await notice_request.compose(notice, self._key, action.verb)
        error = await notice_request.post(self._poster, notice.notify_url, params)
        if action.twice:
            error = await notice_request.post(self._poster, notice.notify_url, params)
        await self._failpoints.act_async("platform.notify.after_notify")
        return error

    async def _hold_back(self, notice: Notice) -> None:
        """Wait until a later notice was sent, but not for ever: perhaps none comes."""
        overtaken = self._held[notice.notify_id] = asyncio.Event()
        with suppress(TimeoutError):
            await asyncio.wait_for(overtaken.wait(), _MAX_HOLD_S)
        del self._held[notice.notify_id]

    def _wake_waiters(self, sent: Notice) -> None:
        for notify_id, overtaken in self._held.items():
            if notify_id < sent.notify_id:
                overtaken.set()
        if expected := self._expected.pop(sent.out_trade_no, None):
            expected.set()
