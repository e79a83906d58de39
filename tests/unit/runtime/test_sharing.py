"""Partitions that instances share by looking at each other: each has an owner, and seldom two."""

from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.runtime.messaging.sharing import Share
from labkit.runtime.registry.files import FolderRegistry
from labkit.runtime.registry.ports import Instance

PARTITIONS = range(20)
SILENCE_S = 3.0


class Fellows:
    """Who lives, as a registry says; and a clock."""

    def __init__(self, folder: Path, *numbers: int) -> None:
        self.numbers = list(numbers)
        self.now = 0.0
        self._folder = folder

    def instances(self, service: str, _fresh: float = 0) -> list[Instance]:
        return [Instance(service, number, "127.0.0.1:1", 1) for number in self.numbers]

    def share(self, number: int, file: str = "goods.beats") -> Share:
        path = self._folder / file
        return Share("goods", number, self, path, SILENCE_S, lambda: self.now)  # type: ignore[arg-type]  # only `instances` is asked


Make = Callable[..., Fellows]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda *numbers: Fellows(tmp_path, *numbers)


def owned(*shares: Share) -> list[int]:
    """All partitions that these instances have, once both have looked at each other."""
    for share in shares:
        share.of(PARTITIONS)
    return sorted(number for share in shares for number in share.of(PARTITIONS))


@pytest.mark.parametrize("many", [1, 2, 3, 9])
def test_each_partition_has_one_owner(make: Make, many: int) -> None:
    """However many instances there are, none is left out and none is read twice."""
    numbers = range(1, many + 1)
    fellows = make(*numbers)
    assert owned(*map(fellows.share, numbers)) == list(PARTITIONS)


def test_what_the_dead_one_had_is_taken_over_at_once(make: Make) -> None:
    """A lease goes with its process; nobody waits for any time to pass."""
    fellows = make(1, 2)
    first, second = fellows.share(1), fellows.share(2)
    assert owned(first, second) == list(PARTITIONS)
    assert len(first.of(PARTITIONS)) == len(PARTITIONS) / 2
    fellows.numbers = [1]
    assert first.of(PARTITIONS) == list(PARTITIONS)


def test_who_stands_still_is_given_up_after_its_silence(make: Make) -> None:
    """It keeps its lease and counts no beats; when it goes on it has its part again."""
    fellows = make(1, 2)
    first, second = fellows.share(1), fellows.share(2)
    assert owned(first, second) == list(PARTITIONS)
    for fellows.now in (1.0, 2.0, 3.9):  # its last beat was seen at 1.0
        assert len(first.of(PARTITIONS)) == len(PARTITIONS) / 2
    fellows.now = 4.0
    assert first.of(PARTITIONS) == list(PARTITIONS)
    second.of(PARTITIONS)
    assert owned(first, second) == list(PARTITIONS)


def test_a_fellow_that_never_counted_is_waited_for(make: Make) -> None:
    """It may just have begun; if it is none that counts, its part is taken over."""
    fellows = make(1, 2)
    first = fellows.share(1)
    assert len(first.of(PARTITIONS)) == len(PARTITIONS) / 2
    fellows.now = SILENCE_S
    assert first.of(PARTITIONS) == list(PARTITIONS)


def test_who_is_not_listed_reads_all(make: Make) -> None:
    """It could not announce itself, or not yet: the inbox knows what others read as well."""
    assert make().share(3).of(PARTITIONS) == list(PARTITIONS)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is full")
def test_a_full_disk_leaves_nothing_unread(make: Make, tmp_path: Path) -> None:
    """Who cannot hear a fellow reads its part too: the inbox knows what comes twice."""
    (tmp_path / "full.beats").symlink_to("/dev/full")
    fellows = make(1, 2)
    shares = [fellows.share(number, "full.beats") for number in (1, 2)]
    for share in shares:
        assert share.of(PARTITIONS) == list(PARTITIONS)


def test_a_file_that_somebody_else_left_stops_nobody(tmp_path: Path) -> None:
    """The announcement of an instance that is gone may be empty, as after a power cut."""
    registry = FolderRegistry(tmp_path)
    (tmp_path / "goods.7.json").write_text("")
    registry.announce(Instance("goods", 8, "127.0.0.1:1", 1))
    (tmp_path / "goods.8.json").write_text('{"of": "another release"}')
    share = Share("goods", 1, registry, tmp_path / "goods.beats", SILENCE_S)
    assert share.of(PARTITIONS) == list(PARTITIONS)


def test_a_number_without_a_place_is_refused(make: Make) -> None:
    """Its beats would be another's."""
    with pytest.raises(ValueError, match="goods-10: at most 9"):
        make().share(10)
