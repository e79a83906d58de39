"""Every command of `labkit` where something is wrong with the lab: it says so in a line or two."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from labkit.cli import COMMANDS
from labkit.waiting import wait_until
from tests.support.commands import WORDS, must_be_told
from tests.support.db import labkit
from tests.support.storyline import QUICK
from tests.support.warm import Run, warm_labkit

pytestmark = pytest.mark.slow

WEBS = ("order-web", "pay-web", "platform")
#: They bring labs of their own up, which nothing is wrong with: only a home can be in their way.
ALONE = {"bench", "matrix", "tour"}
#: They need no home: the twin lives in their own process.
HOMELESS = {"sim"}
#: They look at the data alone, which are whole.
LOOKING = {"tables", "check", "settle", "stuck"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a lab that is up, and of which nobody orders anything."""
    home = tmp_path_factory.mktemp("trouble") / "home"
    up = labkit("up", "--stack", "embedded", home=home, **QUICK)
    assert up.returncode == 0, up
    yield home
    labkit("down", home=home)


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with warm_labkit() as run:
        yield run


@contextmanager
def unsigned(home: Path) -> Iterator[None]:
    """Hide for a block who the supervisor is, as while a lab is coming up."""
    lock = home / "supervisor.lock"
    name = lock.read_text()
    lock.write_text("")
    try:
        yield
    finally:
        lock.write_text(name)


def test_who_orders_before_it_is_up_is_told_to_wait(home: Path, run: Run) -> None:
    """`labkit up` is under way in another window: what needs a web says so."""
    with unsigned(home):
        for command in ("order", "pay"):
            done = run(command, *WORDS[command], home=home)
            must_be_told(done, fails=True)
            assert "is just coming up: wait for labkit up" in done.stderr


def processes_of(home: Path) -> list[psutil.Process]:
    """The supervisor of a home and all that it has started."""
    supervisor = psutil.Process(json.loads((home / "supervisor.lock").read_text())["pid"])
    return [supervisor, *supervisor.children(recursive=True)]


def lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def test_every_command_is_tried() -> None:
    """One that is new needs a row in `WORDS`."""
    assert set(WORDS) == {name for names in COMMANDS.values() for name in names}


@pytest.mark.parametrize(
    "command", [name for name in WORDS if name not in {*ALONE, *HOMELESS, "up"}]
)
def test_there_is_no_lab(tmp_path: Path, run: Run, command: str) -> None:
    """It says how to have one, and what looks, ends or disarms nothing has done that."""
    home = tmp_path / "home"
    done = run(command, *WORDS[command], home=home)
    must_be_told(done, fails=command not in {"status", "failpoints", "fault", "down"})


@contextmanager
def hanging(home: Path) -> Iterator[None]:
    """Stop the webs for a block; a command may end some of them meanwhile."""
    services = json.loads((home / "lab.json").read_text())["services"]
    webs = [psutil.Process(service["pid"]) for service in services if service["name"] in WEBS]
    for web in webs:
        web.suspend()
    try:
        yield
    finally:
        for web in webs:
            with suppress(psutil.NoSuchProcess):
                web.resume()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("command", [name for name in WORDS if name not in ALONE | HOMELESS])
def test_the_webs_hang(home: Path, run: Run, command: str) -> None:
    """A command that asks them says that they do not answer; all others do their work."""
    if command == "replay":  # it begins with a reset, which ends them
        pytest.skip("a reset ends webs that hang")
    needing = {"up", "retry", "give-up", "take-back", "order", "pay", "reconcile", "init", "serve"}
    needing |= {"upgrade"}  # a new process gets no answer from the platform, and goes again
    with hanging(home):
        must_be_told(run(command, *WORDS[command], home=home), fails=command in needing)
    if command == "down":
        assert labkit("up", "--stack", "embedded", home=home, **QUICK).returncode == 0


#: How a state can be broken → what becomes of its text.
BROKEN = {
    "empty": lambda _: "",
    "cut": lambda text: text[: len(text) // 2],
    "nothing in it": lambda _: "{}",
    "no endpoints": lambda text: json.dumps(
        {key: value for key, value in json.loads(text).items() if key != "endpoints"}
    ),
    "a service without a name": lambda text: json.dumps(json.loads(text) | {"services": [{}]}),
}


@contextmanager
def broken(home: Path, how: str) -> Iterator[None]:
    """Break the state file for a block."""
    file = home / "lab.json"
    text = file.read_text()
    file.write_text(BROKEN[how](text))
    try:
        yield
    finally:
        file.write_text(text)


@pytest.mark.parametrize(
    "command", [name for name in WORDS if name not in {*ALONE, *HOMELESS, "down"}]
)
def test_the_state_is_cut(home: Path, run: Run, command: str) -> None:
    """A command that needs it names the file; one that needs the data alone does its work."""
    able = {*LOOKING, "logs", "failpoints", "fault"}
    failing_anyway = {"retry", "give-up", "take-back", "init", "serve"}
    with broken(home, "cut"):
        done = run(command, *WORDS[command], home=home)
    must_be_told(done, fails=command not in able)
    if command not in able | failing_anyway:
        assert f"the file {home / 'lab.json'} is broken" in done.stderr


@pytest.mark.parametrize("how", BROKEN)
def test_a_state_is_broken_in_any_way(home: Path, run: Run, how: str) -> None:
    """Each is told of; the lab goes on, and can be ended."""
    with broken(home, how):
        for command in ("status", "up", "order", "scale"):
            done = run(command, *WORDS[command], home=home)
            must_be_told(done, fails=True)
            assert f"the file {home / 'lab.json'} is broken" in done.stderr
    must_be_told(run("order", home=home), fails=False)


@pytest.mark.parametrize(
    "name",
    [
        "settings.json",
        "schemas.json",
        "clock.json",
        "wall.json",
        "faults/armed.json",
        "faults/rules.json",
        "standing/1.json",
        "secret",
    ],
)
def test_another_file_is_cut(home: Path, run: Run, name: str) -> None:
    """No command makes more of it than a line."""
    file = home / name
    before = file.read_text() if file.exists() else None
    file.parent.mkdir(exist_ok=True)
    file.write_text("{")
    try:
        for command in ("status", "check", "failpoints", "order"):
            done = run(command, *WORDS[command], home=home)
            must_be_told(done, fails=done.returncode != 0)
    finally:
        file.unlink() if before is None else file.write_text(before)


@pytest.fixture(scope="module")
def run_read_only(home: Path) -> Iterator[Run]:
    """Run commands that can write nowhere in the home: a mount of their own, where we are root."""
    if os.geteuid() != 0:
        with warm_labkit() as run:
            yield run
        return
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    within = ("unshare", "--mount", "sh", "-c", script, str(home))
    if not shutil.which("unshare") or subprocess.run([*within, "true"]).returncode:
        pytest.skip("a read-only home takes a mount, which is not permitted here")
    with warm_labkit(*within) as run:
        yield run


@contextmanager
def unwritable(home: Path) -> Iterator[None]:
    """Make a home and its folders read-only for a block, for everyone but root."""
    folders = [home, *(path for path in home.iterdir() if path.is_dir())]
    modes = {folder: folder.stat().st_mode for folder in folders}
    for folder in folders:
        folder.chmod(0o500)
    try:
        yield
    finally:
        for folder, mode in modes.items():
            folder.chmod(mode)


@pytest.mark.parametrize(
    "command", [name for name in WORDS if name not in {*HOMELESS, "tour", "down"}]
)
def test_the_home_is_read_only(home: Path, run_read_only: Run, command: str) -> None:
    """As one of somebody else: who must write says where it cannot."""
    with unwritable(home):
        done = run_read_only(command, *WORDS[command], home=home)
    failing = {"up", "fault", "break", "lose-broker", "bench", "matrix", "init", "serve", "upgrade"}
    failing |= {"retry", "give-up", "take-back", "pay"}  # there is no such thing
    must_be_told(done, fails=command in failing)


@pytest.mark.parametrize("command", ["logs", "tables", "failpoints", "status", "check", "order"])
def test_nobody_reads_what_is_said(home: Path, command: str) -> None:
    """As behind `| head -1`: nothing is said of that."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "labkit", command, "--home", str(home)],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=240,
    )
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode != 0


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "<&-", ">/dev/full"])
def test_standard_streams_are_closed_or_full(home: Path, redirection: str) -> None:
    """A command does what it is told; where it cannot say what it found, it fails."""
    command = f'"$0" -m labkit status --home "$1" {redirection}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, str(home)], capture_output=True, text=True
    )
    must_be_told(done, fails="full" in redirection)


@pytest.mark.timeout(900)
def test_the_home_is_removed_beneath_its_lab(tmp_path: Path) -> None:
    """Nobody can reach the lab any more: all of it ends by itself, and no command complains."""
    home = tmp_path / "home"
    assert labkit("up", "--stack", "embedded", home=home, **QUICK).returncode == 0
    all_of_them = processes_of(home)
    shutil.rmtree(home, ignore_errors=True)
    (home / "lab.json").unlink(missing_ok=True)
    wait_until(lambda: not any(map(lives, all_of_them)), "the lab ends", timeout=60)
