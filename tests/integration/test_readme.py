"""The commands that the README says to type work as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def labkit(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder, as a reader does."""
    return subprocess.run(
        [sys.executable, "-m", "labkit", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_tour_shows_an_order_to_its_payment_and_leaves_nothing(tmp_path: Path) -> None:
    """One order placed, one given back, the first paid; every invariant held, nothing left."""
    done = labkit("tour", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "200 SUCCESS" in done.stdout
    assert "422 ORDER_CONFIRM_FAILED" in done.stdout
    assert re.findall(r"^([1-9])\. [A-Z]", done.stdout, re.M) == ["1", "2", "3", "4", "5", "6"]
    assert re.search(r"\+ +U1 +O2 +2 refunded +30000", done.stdout)
    assert re.search(r"~ +P1 +O1 +488000 +0 unpaid → 1 paid", done.stdout)
    assert re.search(r"\+ +U1 +O1 +1 earned +4880", done.stdout)
    assert re.search(r"\+ +P1 +paid +O1 +U1 +488000", done.stdout)
    assert re.search(r"│ payment │ O1 +│ P1 +│ 488000 +│ 488000 +│ matched │", done.stdout)
    held = re.findall(r"│ (yes|NO) +│", done.stdout)
    assert held
    assert set(held) == {"yes"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(900)
def test_the_commands_under_see_more_work_one_after_the_other(tmp_path: Path) -> None:
    """Each line of "See more" ends with exit code 0, in the order in which it stands there."""
    (block,) = re.findall(r"## See more\n\n```sh\n(.*?)```", README, re.DOTALL)
    lines = [line.partition("#")[0].split() for line in block.splitlines()]
    commands = [words[1:] for words in lines if words and words[0] == "labkit"]
    assert commands[0] == ["up"]
    assert commands[-1] == ["down"]
    try:
        for words in commands:
            done = labkit(*words, folder=tmp_path)
            assert done.returncode == 0, (words, done.stdout, done.stderr)
    finally:
        labkit("down", folder=tmp_path)
