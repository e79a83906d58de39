"""A network cut by faults, on real connections: what is lost or refused, and that it heals."""

import asyncio
from pathlib import Path

import pytest

from labkit.runtime.errors import Unknown
from labkit.runtime.injection.boundaries import Failpoint
from labkit.runtime.injection.failpoints import Failpoints
from labkit.runtime.injection.network import unused_endpoint
from labkit.runtime.injection.standing import FaultBook, FaultKind, StandingFault
from tests.support.counter import ONE, Counting, calling, serving

CALL = [Failpoint("tests", "add", "before_call"), Failpoint("tests", "add", "after_call")]


@pytest.mark.parametrize(
    ("about", "how", "done"),
    [
        ("tests>counter", "dropped", False),
        ("counter>tests", "dropped", True),
        ("tests>counter", "refused", False),
    ],
)
@pytest.mark.parametrize("open_before", [True, False])
def test_what_is_cut_is_lost_until_it_is_mended(
    tmp_path: Path, about: str, how: str, done: bool, open_before: bool
) -> None:
    """A call there does not arrive; one whose answer is lost was done. Both are unknown, on a line
    that was open before and on a new one. The cut was met, and afterwards calls come through."""
    book = FaultBook(tmp_path)
    counting = Counting()

    async def main() -> None:
        failpoints = Failpoints(tmp_path, "tests-1", CALL)
        async with (
            serving(tmp_path / "registry", counting.add),
            calling(tmp_path / "registry", failpoints=failpoints, timeout=0.4) as counter,
        ):
            if open_before:
                assert (await counter.add(ONE)).success
            before = counting.total
            fault = book.add(StandingFault(FaultKind.CUT, about, mode=how))
            with pytest.raises(Unknown):
                await counter.add(ONE)
            assert (counting.total > before) == done
            assert book.hits(fault) > 0
            book.remove(fault)
            for _ in range(20):  # a line that was silent is doubted for a moment
                try:
                    assert (await counter.add(ONE)).success
                    break
                except Unknown:
                    continue
            else:
                pytest.fail("it did not heal")

    asyncio.run(main())


def test_a_cut_of_others_is_no_matter(tmp_path: Path) -> None:
    """A fault about other services, or about connections the other way, is not met."""
    book, counting = FaultBook(tmp_path), Counting()
    paths = (("tests>other", "dropped"), ("counter>tests", "refused"))
    faults = [book.add(StandingFault(FaultKind.CUT, about, mode=how)) for about, how in paths]

    async def main() -> None:
        failpoints = Failpoints(tmp_path, "tests-1", CALL)
        async with (
            serving(tmp_path / "registry", counting.add),
            calling(tmp_path / "registry", failpoints=failpoints) as counter,
        ):
            assert (await counter.add(ONE)).success

    asyncio.run(main())
    assert [book.hits(fault) for fault in faults] == [0, 0]


def test_nobody_listens_where_connections_are_refused() -> None:
    """The system itself refuses them."""
    host, _, port = unused_endpoint().partition(":")

    async def connect() -> None:
        await asyncio.open_connection(host, int(port))

    with pytest.raises(ConnectionRefusedError):
        asyncio.run(connect())
