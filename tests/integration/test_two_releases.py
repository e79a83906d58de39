"""Two releases beside each other, in the twin and in the crash matrix."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.stack.releases import beside
from tests.support.releases import in_release, unpacked

#: Says which shops a process knows, and which of them the services of some lives run.
SHOPS = """
from labkit.sim.shops import OURS, Mix, earlier_shop
from labkit.stack.releases.beside import options
old = earlier_shop()
fields = [
    sorted(event.model_fields) for shop in (old, OURS)
    for event in shop.services["log"].handlers if event.topic == "refunded"
]
print([set(one) ^ set(other) for one, other in zip(fields, fields[1:])])
mixes = [[Mix(seed).shop_of(name) is OURS for name in OURS.services] for seed in range(200)]
print(len({tuple(mix) for mix in mixes}))
print(options())
"""


def run(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of labkit."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "labkit", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("releases")
    return {number: unpacked(folder, number) for number in ("1.0", "1.1")}


def test_the_twin_runs_both(releases: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each shop has its own messages; lives stand at every place of a deployment."""
    monkeypatch.setenv(beside.EARLIER, str(releases["1.0"]))
    differences, mixes, again = in_release(releases["1.1"], "-c", SHOPS).splitlines()
    assert differences == "[{'reason'}]"
    assert int(mixes) >= 9
    assert again.strip() == "--releases 1.0,1.1"  # in the line that lives a life again


@pytest.mark.slow
@pytest.mark.parametrize("pair", ["1.0,1.1", "1.1,1.2"])
def test_lives_of_two_releases_hold(pair: str) -> None:
    """A few hundred lives, with whatever fails in them, break nothing."""
    done = run("sim", "--lives", "150", "--seconds", "600", "--releases", pair)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "150 lives" in done.stdout
    assert "0 broke something" in done.stdout


@pytest.mark.slow
def test_a_release_that_does_not_fit_is_found(releases: dict[str, Path], tmp_path: Path) -> None:
    """A field that 1.1 requires and 1.0 does not say: a refund of 1.0 is dead with 1.1."""
    unfit = unpacked(tmp_path, "1.1")
    messages = unfit / "labkit" / "shop" / "messages.py"
    text = messages.read_text()
    assert '    reason: str = ""\n' in text
    messages.write_text(text.replace('    reason: str = ""\n', "    reason: str\n"))
    beside_it = {"PYTHONPATH": str(unfit), beside.EARLIER: str(releases["1.0"])}
    done = run("sim", "--lives", "400", "--seconds", "600", **beside_it)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_cells_of_two_releases_hold(tmp_path: Path) -> None:
    """Real labs: crashes while some services run one release and some the other."""
    words = ("--releases", "1.0,1.1", "--labs", "2", "--sample", "4")
    done = run("matrix", *words, "--home", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 cells: 4 held" in " ".join(done.stdout.split())


@pytest.mark.parametrize("pair", ["1.0", "1.1,1.0", "1.0,1.2", "1.0,1.7", "x,y"])
def test_what_are_no_neighbours_is_refused(pair: str) -> None:
    """One line says what to write; nothing is started."""
    for command in ("sim", "matrix"):
        done = run(command, "--releases", pair)
        assert done.returncode == 1
        assert done.stderr.startswith("labkit: ")
        assert done.stderr.count("\n") == 1
