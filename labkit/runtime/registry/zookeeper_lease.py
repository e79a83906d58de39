"""A worker number for ids, leased in ZooKeeper.

What makes ids unique is the time that is reserved there, and no clock or time-out: only who has
seen the last version of a number's node changes it, its time only grows, no id bears a time beyond
it, and the ids of the next holder bear later ones. So a process that was stopped past its session
and wakes up can make no id that another makes: what it has left is its own, and it is refused more.
The ephemeral nodes only keep others off the numbers of the living.
"""

import logging
import os
import secrets
import threading
from collections.abc import Iterator
from dataclasses import replace

from labkit.runtime.clock import wall_ms
from labkit.runtime.registry.ids import WORKERS, NothingReserved
from labkit.runtime.registry.zookeeper_nodes import TOO_LATE, LeaseNodes, Number
from labkit.runtime.registry.zookeeper_session import ZooKeeperSession

log = logging.getLogger(__name__)

_AGAIN_SECONDS = 0.2


class ZooKeeperLease:
    """A worker number, and the time that its ids may bear, reserved ahead in the background.

    `worker` changes in `reserve` and nowhere else, so that a number and its time go together.

    Args:
        ensemble: keeps it.
        root: path of the lab's tree.
        reserve_ms: how far ahead of use time is reserved.
    """

    def __init__(self, ensemble: ZooKeeperSession, root: str, reserve_ms: int) -> None:
        self._ensemble = ensemble
        self._nodes = LeaseNodes(ensemble, root, f"{os.getpid()}-{secrets.token_hex(8)}")
        self._reserve_ms = reserve_ms
        self._held: Number | None = None
        self._session: int | None = None
        self._tried: int | None = None
        self._decided = threading.Event()
        self.worker = 0
        ensemble.see_to(self._keep)

    def wait(self) -> None:
        """Wait until a number is ours, however long the ensemble is away.

        Raises:
            RuntimeError: all 1,024 are taken.
        """
        self._decided.wait()
        if self._held is None:
            raise RuntimeError("all worker ids are leased: too many processes use this tree")

    def reserve(self, until_ms: int) -> int:
        """What is reserved already: this never waits.

        Raises:
            NothingReserved: ZooKeeper was away for too long, or we were.
        """
        held = self._held
        if held is None or not held.time.since < until_ms <= held.time.until:
            self._ensemble.wake()
            raise NothingReserved(f"ZooKeeper at {self._ensemble.address} reserved no time for ids")
        self.worker = held.number
        return held.time.until

    def _keep(self) -> float:
        """Reserve ahead, under our number or a new one; seconds until that must be done again."""
        enough = self._reserve_ms * 2 / 3
        left = self._held.time.until - wall_ms() if self._held else 0
        session = self._ensemble.session
        if left < enough or session != self._session:  # which may have lost more than the session
            if not self._renew() and not self._take():
                return _AGAIN_SECONDS
            left, self._session = self._reserve_ms, session
        return (left - enough) / 1000

    def _renew(self) -> bool:
        """Move the time of our number on; whether it is still ours."""
        held = self._held
        if held is None:
            return False
        try:
            self._held = self._nodes.renew(held, self._ahead_of(held))
        except TOO_LATE:
            return False
        return True

    def _take(self) -> bool:
        """Take a number, our last one before any other; whether we have one now."""
        for free, ours in self._free():
            self._tried = free.number
            try:
                self._held = self._nodes.take(free, self._ahead_of(free), ours=ours)
            except TOO_LATE:
                continue
            log.info("ids are made under worker number %d", free.number)
            self._decided.set()
            return True
        if len(self._nodes.taken()) >= WORKERS:
            self._decided.set()
        return False

    def _free(self) -> Iterator[tuple[Number, bool]]:
        """Numbers that may have no id of a time to come, and whether our session has them."""
        now = wall_ms()
        floor = self._nodes.begin(now + self._reserve_ms)
        taken, known = self._nodes.taken(), self._nodes.known()
        mine = [] if self._tried is None else [self._tried]
        for number in (*mine, *(one for one in range(WORKERS) if one not in mine)):
            ours = number in mine and number in taken and self._nodes.is_ours(number)
            if number in taken and not ours:
                continue
            found = self._nodes.look(number) if number in known else self._unknown(number, floor)
            if found.time.since < now:
                yield found, ours

    def _unknown(self, number: int, floor: int) -> Number:
        """A number of which nothing is noted; where that was lost, we know what we reserved."""
        held = self._held
        if held and held.number == number and held.time.until > wall_ms():
            return replace(held, version=-1)
        return self._nodes.fresh(number, floor)

    def _ahead_of(self, number: Number) -> int:
        return max(wall_ms() + self._reserve_ms, number.time.until)
