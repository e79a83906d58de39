"""The broker of a lab, as its supervisor sees it: one of its own, or one that the settings name."""

import logging
import time
from collections.abc import Mapping

from labkit.home import Home
from labkit.settings import Settings
from labkit.stack import boundaries
from labkit.stack.releases import topics
from labkit.stack.setup import broker_binary, brokers
from labkit.stack.supervisor import ports
from labkit.stack.supervisor.children import Children
from labkit.stack.supervisor.helpers import Helper, Helpers
from labkit.stack.supervisor.instances import BROKER

log = logging.getLogger(__name__)

_AGAIN_S = 1.0


class LabBroker:
    """The address and the topics of a lab's broker.

    Args:
        home: where the lab lives.
        settings: of the lab.
        endpoints: of an earlier life of the lab: its own broker keeps its port where it is free.
    """

    def __init__(self, home: Home, settings: Settings, endpoints: Mapping[str, str | None]) -> None:
        self._home = home
        self.is_ours = not settings.broker
        port, self._port_keeper = ports.reserve(ports.of(endpoints.get(BROKER)))
        self.address = settings.broker or f"127.0.0.1:{port}"
        self._helper: Helper | None = None
        self._next_try = 0.0

    def command(self) -> list[str]:
        """Return the command that runs a broker of our own.

        Raises:
            OSError: there is no binary for this machine; says what to do.
        """
        return broker_binary.command(ports.of(self.address))

    def answers(self) -> bool:
        """Return True if somebody accepts connections at its address."""
        return ports.answers(self.address)

    def make_topics(self, _cross: boundaries.Cross) -> None:
        """Make all topics of the lab (run in a helper)."""
        topics.make_all(self._home)

    def remove_topics(self, _cross: boundaries.Cross) -> None:
        """Remove all topics of the lab (run in a helper)."""
        topics.remove_all(self._home)

    def topic_prefix(self, generation: int) -> str:
        """Return the prefix that sets the lab's topics apart, where its broker is not its own."""
        return "" if self.is_ours else brokers.prefix_of(self._home, generation)

    def forget_helper(self) -> None:
        """Forget the helper that makes topics: it was ended."""
        self._helper = None

    def poll(self, children: Children, helpers: Helpers) -> bool:
        """See whether a broker of ours answers, and have its topics made; then it serves.

        Returns:
            True if the state has changed.
        """
        child = children.by_label.get(f"{BROKER}-1")
        if not child or not child.pid or child.endpoint:
            return False
        if self._helper is None:
            return self._start_helper(helpers)
        if not self._helper.ended():
            return False
        helper, self._helper = self._helper, None
        helpers.end(helper)
        if reason := helper.failure():
            log.warning("the broker cannot be used, and is tried again: %s", reason)
            return False
        child.endpoint = self.address
        return True

    def _start_helper(self, helpers: Helpers) -> bool:
        if time.monotonic() < self._next_try or not self.answers():
            return False
        self._next_try = time.monotonic() + _AGAIN_S
        self._helper = helpers.start("make_topics", self.make_topics)
        return True
