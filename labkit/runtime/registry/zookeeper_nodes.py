"""The nodes in ZooKeeper under which worker numbers are leased.

holders/H    ephemeral: a holder and its session, which every change of a holder asks for
workers/N    ephemeral: somebody has the number; gone when its session is
reserved     persistent: the time after which ids of numbers begin of which nothing is noted
reserved/N   persistent: up to which time ids of this number may exist, and who reserved it
"""

import json
import logging
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from kazoo.exceptions import BadVersionError, NodeExistsError, NoNodeError

from labkit.runtime.clock import as_time
from labkit.runtime.registry.zookeeper_lease import Number, Reserved, TooLate
from labkit.runtime.registry.zookeeper_session import ZooKeeperSession

log = logging.getLogger(__name__)

#: ZooKeeper's errors for a change that comes after another's.
_TOO_LATE = (BadVersionError, NodeExistsError, NoNodeError)


def new_holder() -> str:
    """Make a name for a holder that none had before and none will have."""
    return f"{os.getpid()}-{secrets.token_hex(8)}"


class LeaseNodes:
    """The nodes of one lab, as one holder sees and changes them.

    Args:
        session: the session that reads and writes them.
        root: path of the lab's tree.
        holder: name of the holder, which no other holder has before or after.
    """

    def __init__(self, session: ZooKeeperSession, root: str, holder: str) -> None:
        self._session = session
        self._root = root
        self._holder = holder
        self._holder_path = f"{root}/holders/{holder}"

    def taken(self) -> set[int]:
        """Return the numbers that somebody has, who lives or died a moment ago."""
        return self._children("workers")

    def noted(self) -> set[int]:
        """Return the numbers of which something is noted."""
        return self._children("reserved")

    def begin(self, floor: int) -> int:
        """Begin to look: what is seen from now on counts for as long as our session lasts.

        A version alone would not do. If ZooKeeper lost its data, versions begin again, and the
        node of another may have just the version that ours had.

        Args:
            floor: see `make`.

        Returns:
            The floor that stands there.
        """
        standing = self.make(floor)
        with suppress(NodeExistsError):
            self._session.call(self._session.client.create_async, self._holder_path, ephemeral=True)
        return standing

    def is_ours(self, number: int) -> bool:
        """Return True if our session has a number."""
        stat = self._session.call(self._session.client.exists_async, self._worker(number))
        return bool(stat and stat.ephemeralOwner == self._session.session_id)

    def look(self, number: int) -> Number:
        """Return a noted number as it was left: after another's last time, or where we were."""
        data, stat = self._session.call(self._session.client.get_async, self._reserved(number))
        time = Reserved(**json.loads(data))
        if time.holder != self._holder:
            time = Reserved(time.until, time.until, self._holder)
        return Number(number, time, stat.version)

    def fresh(self, number: int, floor: int) -> Number:
        """Return a number of which nothing is noted."""
        return Number(number, Reserved(floor, floor, self._holder), -1)

    def renew(self, held: Number, until: int) -> Number:
        """Reserve more time under a number that we have.

        Raises:
            TooLate: it is ours no more.
        """
        return self._reserve(held, until)

    def take(self, free: Number, until: int, *, ours: bool) -> Number:
        """Take a number and reserve time under it.

        Args:
            free: the number as we saw it.
            until: the time to reserve.
            ours: whether our session has it already.

        Raises:
            TooLate: another was quicker.
        """
        path = self._worker(free.number)
        leave = [("delete", path)] if ours else []
        create = ("create", path, self._holder.encode(), None, True)
        return self._reserve(free, until, *leave, create)

    def make(self, floor: int) -> int:
        """Make the tree, if it is not there.

        Args:
            floor: ids of numbers of which nothing is noted bear later times only. It is now for a
                lab of which nothing lives. Else ZooKeeper has lost what the living have reserved,
                and it is the highest time that this can be.

        Returns:
            The floor that stands there.
        """
        client, path = self._session.client, f"{self._root}/reserved"
        try:
            return int(self._session.call(client.get_async, path)[0])
        except NoNodeError:
            for name in ("holders", "workers"):
                self._session.call(client.ensure_path_async, f"{self._root}/{name}")
        try:
            self._session.call(client.create_async, path, str(floor).encode())
        except NodeExistsError:
            return self.make(floor)
        log.info("%s is made: ids of new numbers begin at %s UTC", path, as_time(floor))
        return floor

    def _reserve(self, number: Number, until: int, *also: tuple[Any, ...]) -> Number:
        """Write the reserved time, only if nobody changed the node since we looked in this session.

        All of the changes are made, or none.
        """
        time = replace(number.time, until=until)
        node, note = self._reserved(number.number), json.dumps(asdict(time)).encode()
        transaction = self._session.client.transaction()
        transaction.check(self._holder_path, 0)
        for name, *args in also:
            getattr(transaction, name)(*args)
        if number.version < 0:
            transaction.create(node, note)
        else:
            transaction.set_data(node, note, number.version)
        for result in self._session.call(transaction.commit_async):
            if isinstance(result, _TOO_LATE):
                raise TooLate(str(result)) from result
        return replace(number, time=time, version=number.version + 1)

    def _children(self, name: str) -> set[int]:
        path = f"{self._root}/{name}"
        return set(map(int, self._session.call(self._session.client.get_children_async, path)))

    def _worker(self, number: int) -> str:
        return f"{self._root}/workers/{number}"

    def _reserved(self, number: int) -> str:
        return f"{self._root}/reserved/{number}"
