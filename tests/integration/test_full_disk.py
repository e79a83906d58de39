"""A disk that is really full: 503, nothing dies, and all goes on when there is room."""

from pathlib import Path

import pytest

from labkit.faults import Faults
from labkit.home import Home
from labkit.lab import Lab
from labkit.waiting import wait_until
from tests.support import full_disk
from tests.support.small_disk import fill, on_a_small_disk

pytestmark = pytest.mark.slow


@pytest.mark.timeout(900)
@on_a_small_disk
def test_a_lab_lives_through_a_full_disk(disk: Path) -> None:
    """Orders meanwhile, a service that is killed, a supervisor that cannot write its state."""
    assert full_disk.tell(disk / "lab") == ""


@on_a_small_disk
def test_a_lab_that_finds_no_room_says_so(disk: Path) -> None:
    """`labkit up` on a full disk: one line that names the cause; with room it comes up."""
    home = Home(disk / "lab").make()
    filled = fill(disk)
    with pytest.raises(RuntimeError, match=r"No space left on device|is full: make room"):
        Lab.up(home.folder)
    filled.unlink()
    lab = Lab.up(home.folder)
    lab.down()


@on_a_small_disk
def test_what_a_killed_tool_left_is_gone_at_the_next_start(disk: Path) -> None:
    """The file that fills the disk is no data of the lab."""
    home = Home(disk / "lab").make()
    fill(disk).rename(home.filling_file)
    lab = Lab.up(home.folder)
    try:
        wait_until(lambda: not home.filling_file.exists(), "the disk has room")
    finally:
        lab.down()


@on_a_small_disk
def test_a_small_disk_that_holds_more_is_not_filled(disk: Path) -> None:
    """Somebody else's files lie there: it is refused, and says what to do."""
    (disk / "thesis.txt").write_text("two years of work")
    refused = pytest.raises(
        ValueError, match=r"thesis\.txt lies there too\. Put the home on a small"
    )
    with refused, Faults(Home(disk / "lab").make()).disk_full():
        pass


def test_a_large_disk_is_not_filled(tmp_path: Path) -> None:
    """It is refused before a byte is written."""
    home = Home(tmp_path / "lab").make()
    refused = pytest.raises(ValueError, match="disk_full fills the disk of the home")
    with refused, Faults(home).disk_full():
        pass
    assert not home.filling_file.exists()
