"""The nodes in ZooKeeper under which worker numbers are leased.

holders/H    ephemeral: a holder and its session, which every change of a holder asks for
workers/N    ephemeral: somebody has the number; gone when its session is
reserved     persistent: the time after which ids of numbers begin of which nothing is noted
reserved/N   persistent: up to which time ids of this number may exist, and who reserved it
"""

import json
import logging
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from kazoo.exceptions import BadVersionError, NodeExistsError, NoNodeError

from labkit.runtime.clock import as_time
from labkit.runtime.registry.zookeeper_session import ZooKeeperSession

log = logging.getLogger(__name__)

#: What the ensemble answers to who looked before another changed something.
TOO_LATE = (BadVersionError, NodeExistsError, NoNodeError)


@dataclass(frozen=True)
class Reserved:
    """What a `reserved/N` says.

    Attributes:
        since: ids of its holder bear later times only; those of before may be another's.
        until: the highest time that ids may bear.
        holder: who reserved it.
    """

    since: int
    until: int
    holder: str


@dataclass(frozen=True)
class Number:
    """A number with what is reserved, and the version of its node: −1 where that is to be made."""

    number: int
    time: Reserved
    version: int


class LeaseNodes:
    """The nodes of one lab, as one holder sees and changes them.

    Args:
        ensemble: has them.
        root: path of the lab's tree.
        me: names the holder, and nobody before or after.
    """

    def __init__(self, ensemble: ZooKeeperSession, root: str, me: str) -> None:
        self._ensemble = ensemble
        self._root = root
        self._me = me
        self._holder = f"{root}/holders/{me}"

    def taken(self) -> set[int]:
        """The numbers that somebody has, who lives or died a moment ago."""
        return self._children("workers")

    def known(self) -> set[int]:
        """The numbers of which something is noted."""
        return self._children("reserved")

    def begin(self, floor: int) -> int:
        """Begin to look: what is seen from now on counts for as long as our session lasts.

        A version alone would not do. Where the ensemble lost its data, versions begin again, and
        the node of another may have just the version that ours had.

        Args:
            floor: as `make` wants it.

        Returns:
            The floor that stands there.
        """
        found = self.make(floor)
        with suppress(NodeExistsError):
            self._ensemble.ask(self._ensemble.client.create_async, self._holder, ephemeral=True)
        return found

    def is_ours(self, number: int) -> bool:
        """Whether it is our session that has a number."""
        found = self._ensemble.ask(self._ensemble.client.exists_async, self._worker(number))
        return bool(found and found.ephemeralOwner == self._ensemble.session)

    def look(self, number: int) -> Number:
        """A known number as it was left: after another's last time, or where we were."""
        client = self._ensemble.client
        data, stat = self._ensemble.ask(client.get_async, self._reserved(number))
        time = Reserved(**json.loads(data))
        if time.holder != self._me:
            time = Reserved(time.until, time.until, self._me)
        return Number(number, time, stat.version)

    def fresh(self, number: int, floor: int) -> Number:
        """A number of which nothing is noted."""
        return Number(number, Reserved(floor, floor, self._me), -1)

    def renew(self, held: Number, until: int) -> Number:
        """Reserve more time under a number that we have.

        Raises:
            KazooException: one of `TOO_LATE` where it is ours no more.
        """
        return self._reserve(held, until)

    def take(self, free: Number, until: int, *, ours: bool) -> Number:
        """Take a number and reserve time under it.

        Args:
            free: as we found it.
            until: the time to reserve.
            ours: whether our session has it already.

        Raises:
            KazooException: one of `TOO_LATE` where another was quicker.
        """
        path = self._worker(free.number)
        leave = [("delete", path)] if ours else []
        return self._reserve(free, until, *leave, ("create", path, self._me.encode(), None, True))

    def make(self, floor: int) -> int:
        """Make the tree, where it is not there.

        Args:
            floor: ids of unknown numbers bear later times only. It is now for a lab of which
                nothing lives. Else the ensemble has lost what the living have reserved, and it is
                the highest time that this can be.

        Returns:
            The floor that stands there.
        """
        client, path = self._ensemble.client, f"{self._root}/reserved"
        try:
            return int(self._ensemble.ask(client.get_async, path)[0])
        except NoNodeError:
            for name in ("holders", "workers"):
                self._ensemble.ask(client.ensure_path_async, f"{self._root}/{name}")
        try:
            self._ensemble.ask(client.create_async, path, str(floor).encode())
        except NodeExistsError:
            return self.make(floor)
        log.info("%s is made: ids of new numbers begin at %s UTC", path, as_time(floor))
        return floor

    def _reserve(self, number: Number, until: int, *also: tuple[Any, ...]) -> Number:
        """All or nothing, and only if nobody changed the node since we looked in this session."""
        time = replace(number.time, until=until)
        node, note = self._reserved(number.number), json.dumps(asdict(time)).encode()
        transaction = self._ensemble.client.transaction()
        transaction.check(self._holder, 0)
        for name, *args in also:
            getattr(transaction, name)(*args)
        if number.version < 0:
            transaction.create(node, note)
        else:
            transaction.set_data(node, note, number.version)
        for result in self._ensemble.ask(transaction.commit_async):
            if isinstance(result, TOO_LATE):
                raise result
        return replace(number, time=time, version=number.version + 1)

    def _children(self, name: str) -> set[int]:
        path = f"{self._root}/{name}"
        return set(map(int, self._ensemble.ask(self._ensemble.client.get_children_async, path)))

    def _worker(self, number: int) -> str:
        return f"{self._root}/workers/{number}"

    def _reserved(self, number: int) -> str:
        return f"{self._root}/reserved/{number}"
