"""The log of a process: repeated messages are written once, and then counted.

While a database is away, a dozen loops meet the same error several times a second, for as long as
nobody mends it. Such a trouble is written when it begins, then at growing intervals with a count,
and once more when it has ended. Two records are of the same trouble if they differ in numbers
alone. This holds for every logger of the process, those of libraries included.
"""

import logging
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from labkit.files import is_no_room
from labkit.runtime.db.errors import is_away
from labkit.runtime.errors import in_one_line

_FIRST_WAIT_S, _LONGEST_WAIT_S = 10.0, 3600.0
#: Silence after which a trouble has ended.
_QUIET_S = 10.0
#: How long after its end a trouble that comes again brings no new traceback.
_REMEMBERED_S = 600.0
_MAX_TROUBLES = 200
_MAX_LINE, _MAX_TRACEBACK = 1_000, 8_000
_FORMAT = logging.Formatter()
_DIGITS = re.compile(r"\d+")


@dataclass
class _Trouble:
    """A message that was written, and may come again.

    Attributes:
        text: the line, without its time.
        since: when it began, for people.
        last: when it came last.
        written: when it was written last.
        wait: seconds until it is written again.
        times: how often it came since it began; 0 once its end was written.
        more: how often since it was written last.
    """

    text: str
    since: str
    last: float
    written: float
    wait: float = _FIRST_WAIT_S
    times: int = 1
    more: int = 0


class CalmHandler(logging.Handler):
    """Writes each trouble when it begins, at growing intervals, and when it has ended.

    Args:
        descriptor: the file to write to. What cannot be written, as on a full disk, is counted
            until it can be.
        ticking: whether a thread of its own notices that a trouble has ended; if not, `tick` must
            be called now and then.
        now: the monotonic clock.
    """

    def __init__(
        self, descriptor: int, *, ticking: bool = True, now: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._ticking = ticking
        self._now = now
        self._ticker: threading.Thread | None = None
        self._troubles: dict[tuple[str, str], _Trouble] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or count it if it repeats what was written."""
        now, text = self._now(), _in_a_line(record)
        key = self._key(record, text)
        trouble = self._troubles.get(key)
        if trouble and trouble.times:
            return self._repeat(trouble, record, now)
        written = self._write(text, record, "" if trouble else _traceback(record))
        since = _FORMAT.formatTime(record)[11:19]
        self._troubles[key] = _Trouble(text, since, last=now, written=now if written else -inf)
        self._start_ticking()
        return None

    def tick(self) -> None:
        """Write that troubles have ended, and forget those that ended long ago."""
        now = self._now()
        for key, trouble in list(self._troubles.items()):
            if trouble.times and now - trouble.last > _QUIET_S:
                self._end(trouble)
            elif not trouble.times and now - trouble.last > _REMEMBERED_S:
                del self._troubles[key]

    def _key(self, record: logging.LogRecord, text: str) -> tuple[str, str]:
        """Return the key that two records of the same trouble share.

        Once there are too many troubles, records of one message are told apart no more.
        """
        key = record.name, _DIGITS.sub("#", text)
        if key in self._troubles or len(self._troubles) < _MAX_TROUBLES:
            return key
        return record.name, str(record.msg)[:_MAX_LINE]

    def _repeat(self, trouble: _Trouble, record: logging.LogRecord, now: float) -> None:
        trouble.last, trouble.times, trouble.more = now, trouble.times + 1, trouble.more + 1
        if now - trouble.written < trouble.wait:
            return
        text = f"{trouble.text} ({trouble.more} more, {trouble.times} since {trouble.since})"
        if self._write(text, record):
            trouble.written, trouble.more = now, 0
            trouble.wait = min(trouble.wait * 2, _LONGEST_WAIT_S)

    def _end(self, trouble: _Trouble) -> None:
        text = f"over: {trouble.text} (came {trouble.times} times since {trouble.since})"
        ours = logging.LogRecord(__name__, logging.INFO, "", 0, "", (), None)
        if trouble.times > 1 and not self._write(text, ours):
            return  # there is no room yet
        trouble.times = trouble.more = 0

    def _write(self, text: str, record: logging.LogRecord, more: str = "") -> bool:
        """Write a line; return False if that failed, as on a full disk."""
        when = _FORMAT.formatTime(record)
        line = f"{when} {record.levelname} {record.name}: {text}\n{more}"
        try:
            return os.write(self._descriptor, line.encode(errors="replace")) > 0
        except OSError:
            return False

    def _start_ticking(self) -> None:
        if self._ticking and self._ticker is None:
            self._ticker = threading.Thread(target=self._tick_on, daemon=True, name="log")
            self._ticker.start()

    def _tick_on(self) -> None:
        while True:
            time.sleep(1)
            self.acquire()
            try:
                self.tick()
                if not any(trouble.times for trouble in self._troubles.values()):
                    self._ticker = None
                    return
            finally:
                self.release()


def set_up(*, ticking: bool = True) -> CalmHandler:
    """Write the log of this process to its standard output, with repeated messages counted.

    Args:
        ticking: False for a process that must have one thread only, because it forks.
    """
    root, handler = logging.getLogger(), CalmHandler(sys.stdout.fileno(), ticking=ticking)
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    return handler


def _in_a_line(record: logging.LogRecord) -> str:
    """Return the text of a record, in one line."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            in_one_line(value) if isinstance(value, BaseException) else value
            for value in record.args
        )
    text, error = record.getMessage(), _error(record)
    if error:
        text = f"{text}: {in_one_line(error)}"
    return " ".join(text.split())[:_MAX_LINE]


def _traceback(record: logging.LogRecord) -> str:
    """Return the traceback of an error, if it is a defect and no outage of a server."""
    error = _error(record)
    if error is None or is_away(error) or is_no_room(error):
        return ""
    return "".join(traceback.format_exception(error))[-_MAX_TRACEBACK:]


def _error(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if record.exc_info else None
