"""The work that a lab needs done before its services start; helpers of the supervisor do it."""

import errno
import time
from datetime import datetime
from typing import Protocol

from labkit.home import Home
from labkit.payment_api import keys
from labkit.runtime.clock import LabClock
from labkit.runtime.injection.failpoints import Failpoints
from labkit.settings import Settings
from labkit.stack.releases import schema
from labkit.stack.setup import databases
from labkit.stack.setup.seeds import Seeds
from labkit.stack.supervisor.broker import LabBroker
from labkit.stack.supervisor.helpers import Helper, Helpers, Work

_FORK_S = 10.0
_FORK_AGAIN_S = 0.5
#: Errors that may be over a moment later: no process, no memory, no descriptor left.
_PASSING_ERRORS = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


class CannotStart(Exception):
    """The lab cannot come up; the message is one line that says what to do."""


class Loop(Protocol):
    """The part of the supervisor that goes on while a helper works."""

    @property
    def is_stopping(self) -> bool:
        """Return True if the lab is to go down."""

    def write_state(self) -> None:
        """Write the state, and let the processes work that it names."""

    def turn(self) -> None:
        """Wait for the next event, and handle it."""


class Preparation:
    """Prepares databases, registry, keys and topics of one home.

    Args:
        home: where the lab lives.
        settings: of the lab.
        broker: of the lab.
        helpers: do the work.
        failpoints: of the supervisor.
        loop: goes on meanwhile.
    """

    def __init__(
        self,
        home: Home,
        settings: Settings,
        broker: LabBroker,
        helpers: Helpers,
        failpoints: Failpoints,
        loop: Loop,
    ) -> None:
        self._home = home
        self._settings = settings
        self._broker = broker
        self._helpers = helpers
        self._failpoints = failpoints
        self._loop = loop

    def prepare(self) -> None:
        """Prepare what no topic needs, where it is not ready yet.

        Raises:
            CannotStart: something cannot be had.
        """
        self._prepare_databases()
        self._prepare_registry()
        if not self._home.filled():
            self.fill("start", Seeds(), LabClock(self._home.clock_file).now())
        else:
            self._make_ready()
        if not all((self._home.keys / f"{name}.pem").exists() for name in keys.OWNERS):
            self._run("make_keys", lambda _: keys.make(self._home.keys), "the keys cannot be made")

    def fill(self, step: str, seeds: Seeds, now: datetime) -> None:
        """Empty all databases and put the seeds in, as part of a step of the supervisor."""
        self._failpoints.cross(f"supervisor.{step}.before_fill")
        self._run(
            "fill",
            lambda cross: databases.fill(self._home, seeds, now, cross, [self._helpers.lock]),
            "the databases cannot be made",
        )
        self._failpoints.cross(f"supervisor.{step}.after_fill")
        self._make_ready()

    def make_topics(self) -> None:
        """Make all topics at the lab's broker."""
        self._run("make_topics", self._broker.make_topics, "the broker cannot be used")

    def remove_topics(self) -> None:
        """Remove all topics from the lab's broker."""
        self._run("remove_topics", self._broker.remove_topics, "topics are not removed")

    def _make_ready(self) -> None:
        """Expand the databases for the releases of their services, or refuse them."""
        work = lambda _: schema.make_ready(self._home, [self._helpers.lock])  # noqa: E731  # as below
        self._run("make_ready", work, "the databases cannot be used")

    def _prepare_databases(self) -> None:
        server = self._settings.mysql
        if not server:
            return databases.put_aside(self._home)
        prepare = lambda _: databases.prepare(self._home, server)  # noqa: E731  # run in a helper
        return self._run("prepare_mysql", prepare, "MySQL cannot be used")

    def _prepare_registry(self) -> None:
        address = self._settings.zookeeper
        if address:
            from labkit.stack.setup import zookeeper  # here and not in every child: it takes long

            prepare = lambda _: zookeeper.prepare(self._home, address)  # noqa: E731  # run in a helper
            self._run("prepare_zookeeper", prepare, "ZooKeeper cannot be used")

    def _run(self, name: str, work: Work, complaint: str) -> None:
        """Let a helper do work, while the loop goes on.

        Raises:
            CannotStart: it failed, or was killed; or the lab is to go down.
        """
        helper = self._start(name, work, complaint)
        self._loop.write_state()
        try:
            while not helper.ended():
                if self._loop.is_stopping:
                    raise CannotStart(f"{complaint}: the lab is told to go down")
                self._loop.turn()
        finally:
            self._helpers.end(helper)
        if reason := helper.failure():
            raise CannotStart(f"{complaint}: {reason}")

    def _start(self, name: str, work: Work, complaint: str) -> Helper:
        """Start a helper, which begins when the state names it; try a fork that fails again.

        Raises:
            CannotStart: the system has no process left for it, for long.
        """
        deadline = time.monotonic() + _FORK_S
        while True:
            try:
                return self._helpers.start(name, work)
            except OSError as error:
                is_late = time.monotonic() > deadline or self._loop.is_stopping
                if is_late or error.errno not in _PASSING_ERRORS:
                    raise CannotStart(f"{complaint}: {error.strerror}") from error
                time.sleep(_FORK_AGAIN_S)
