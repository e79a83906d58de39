"""A transaction that hangs: whoever reads sees nothing of it, and whoever writes waits."""

from collections.abc import Awaitable, Callable

import pytest

from labkit.sim import process
from labkit.sim.disk import SimDatabase, SimDisk
from labkit.sim.loop import SimLoop
from labkit.sim.process import Process

WRITE = "INSERT INTO numbers VALUES (?)"
READ = "SELECT number FROM numbers ORDER BY number"


class Lab:
    """A disk, and two processes that have it open."""

    def __init__(self) -> None:
        self.loop = SimLoop(process.not_before)  # type: ignore[abstract]  # what it lacks raises
        self.disk = SimDisk("goods")
        self.disk.tables = ["numbers"]
        self.disk.raw.execute("CREATE TABLE numbers (number INTEGER)")
        self.disk.begin_life()
        self.first, self.second = Process("goods", 1, 1), Process("goods", 2, 1)
        for each in (self.first, self.second):
            each.at_death(lambda dead=each: self.disk.end_of(dead))

    async def write(self, writer: Process, number: int, hang_s: float = 0) -> None:
        async with SimDatabase(self.disk, writer, reads=False).transaction() as session:
            session.cursor.execute(WRITE, [number])
            if hang_s:
                await self.sleep(hang_s)

    async def read(self) -> list[int]:
        async with SimDatabase(self.disk, self.second, reads=True).transaction() as session:
            session.cursor.execute(READ)
            return [number for (number,) in session.cursor.fetchall()]

    async def sleep(self, seconds: float) -> None:
        await self._later(seconds)

    def _later(self, seconds: float) -> Awaitable[None]:
        done = self.loop.create_future()
        self.loop.call_later(seconds, done.set_result, None)
        return done

    def run(self, writer: Process, work: Callable[[], Awaitable[None]]) -> None:
        """Start some work in a process."""
        writer.run(self.loop.create_task, work())  # type: ignore[arg-type]  # a coroutine, all of them


@pytest.mark.parametrize("dies", [False, True])
def test_a_transaction_that_hangs_is_seen_by_nobody(dies: bool) -> None:
    """Until it ends; nothing is left of it if its process dies meanwhile."""
    lab = Lab()
    seen: list[object] = []
    lab.run(lab.first, lambda: lab.write(lab.first, 1, hang_s=5))

    async def look() -> None:
        await lab.sleep(1)
        seen.append(await lab.read())
        if dies:
            lab.first.die()
        await lab.write(lab.second, 2)
        seen.append(lab.loop.time())
        seen.append(await lab.read())

    lab.run(lab.second, look)
    lab.loop.run_until(lambda: len(seen) == 3, 60)
    assert seen == [[], 1 if dies else 5, [2] if dies else [1, 2]]
