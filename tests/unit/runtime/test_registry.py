"""The registry: who serves what, for exactly as long as the process lives."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from labkit.runtime.clock import wall_ms
from labkit.runtime.registry.files import FolderRegistry
from labkit.runtime.registry.ids import NothingReserved
from labkit.runtime.registry.ports import Instance
from labkit.stack.setup import hide
from labkit.waiting import wait_until

_SERVER = """
import os, sys
from pathlib import Path
from labkit.runtime.registry.files import FolderRegistry
from labkit.runtime.registry.ports import Instance
registry = FolderRegistry(Path(sys.argv[1]))
registry.announce(Instance("goods", int(sys.argv[2]), "127.0.0.1:" + sys.argv[3], os.getpid()))
print(registry.lease_worker(0).worker, flush=True)
sys.stdin.read()
"""


@contextmanager
def serving(folder: Path, instance: int, port: int = 1) -> Iterator[subprocess.Popen[str]]:
    """A process that has announced itself as goods-N, killed at the end."""
    command = [sys.executable, "-c", _SERVER, str(folder), str(instance), str(port)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True) as process:
        try:
            assert process.stdout.readline(), "it could not announce itself"
            yield process
        finally:
            process.kill()


def goods(folder: Path) -> list[int]:
    """The numbers of the living instances, looked at now."""
    return [instance.instance for instance in FolderRegistry(folder).instances("goods")]


def test_who_announced_is_found(tmp_path: Path) -> None:
    """An instance is found under its service, with its endpoint, and under no other name."""
    me = Instance("order", 1, "127.0.0.1:4711", os.getpid())
    FolderRegistry(tmp_path).announce(me)
    other = FolderRegistry(tmp_path)
    assert other.instances("order") == [me]
    assert other.instances("order-web") == other.instances("orde") == []


def test_nobody_serves_in_an_empty_registry(tmp_path: Path) -> None:
    """A service that never announced has no instances, and that is no error."""
    assert FolderRegistry(tmp_path).instances("goods") == []


def test_a_dead_process_vanishes(tmp_path: Path) -> None:
    """Of two instances, the killed one is gone at once and the other stays."""
    with serving(tmp_path, 1) as first, serving(tmp_path, 2):
        assert goods(tmp_path) == [1, 2]
        first.kill()
        first.wait()
        assert goods(tmp_path) == [2]


def test_an_answer_kept_for_a_moment_is_renewed(tmp_path: Path) -> None:
    """A frequent caller hears of a death a moment later, without asking for fresh news."""
    registry = FolderRegistry(tmp_path)
    with serving(tmp_path, 1) as first:
        assert len(registry.instances("goods")) == 1
        first.kill()
        first.wait()
        wait_until(lambda: not registry.instances("goods"), "the dead instance is gone")


def test_a_restarted_instance_is_found_at_its_new_endpoint(tmp_path: Path) -> None:
    """The next process of the same instance takes over its name."""
    with serving(tmp_path, 1, port=1):
        pass
    with serving(tmp_path, 1, port=2) as second:
        [instance] = FolderRegistry(tmp_path).instances("goods")
        assert (instance.endpoint, instance.pid) == ("127.0.0.1:2", second.pid)


def test_a_stopped_process_keeps_its_leases(tmp_path: Path) -> None:
    """A process that is only paused still serves, and nobody else gets its worker number."""
    with serving(tmp_path, 1) as paused:
        paused.send_signal(signal.SIGSTOP)
        process = psutil.Process(paused.pid)
        wait_until(lambda: process.status() == psutil.STATUS_STOPPED, "it stands still")
        assert goods(tmp_path) == [1]
        assert FolderRegistry(tmp_path).lease_worker(0).worker == 1


def test_one_instance_is_announced_once(tmp_path: Path) -> None:
    """While a process lives, no other can announce itself under its name."""
    with serving(tmp_path, 1, port=1):
        with pytest.raises(RuntimeError, match="goods-1 is running already"):
            FolderRegistry(tmp_path).announce(Instance("goods", 1, "127.0.0.1:2", os.getpid()))
        assert FolderRegistry(tmp_path).instances("goods")[0].endpoint == "127.0.0.1:1"


def test_looking_does_not_keep_anybody_from_announcing(tmp_path: Path) -> None:
    """Others who look whether an instance lives do not stop it from coming back."""
    with serving(tmp_path, 1):
        pass
    lookers = [FolderRegistry(tmp_path) for _ in range(20)]
    assert [looker.instances("goods") for looker in lookers] == [[]] * 20
    with serving(tmp_path, 1):
        assert goods(tmp_path) == [1]


def test_all_numbers_taken_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no worker number left the error says so; here there are two instead of 1,024."""
    monkeypatch.setattr("labkit.runtime.registry.leases.WORKERS", 2)
    for _ in range(2):
        FolderRegistry(tmp_path).lease_worker(0)
    with pytest.raises(RuntimeError, match="all worker ids are leased"):
        FolderRegistry(tmp_path).lease_worker(0)


def test_a_folder_that_is_away(tmp_path: Path) -> None:
    """The last instance still counts, and an id is refused as one that nothing is wrong with."""
    folder = tmp_path / "registry"
    folder.mkdir()
    registry, me = FolderRegistry(folder), Instance("goods", 1, "127.0.0.1:1", os.getpid())
    registry.announce(me)
    lease = registry.lease_worker(0)
    assert registry.instances("goods") == [me]
    hide.put_away(folder)
    assert registry.instances("goods") == [me]
    assert goods(folder) == []
    with pytest.raises(NothingReserved, match="no time for ids could be reserved"):
        lease.reserve(wall_ms())
    hide.bring_back(folder)
    assert goods(folder) == [1]
    assert lease.reserve(1) == 1


def test_an_announcement_that_failed_can_be_made_again(tmp_path: Path) -> None:
    """As on a full disk that has room again: the process does not stand in its own way."""
    registry, here = FolderRegistry(tmp_path), Instance("goods", 1, "127.0.0.1:1", os.getpid())
    in_the_way = tmp_path / "goods.1.json"
    in_the_way.mkdir()
    with pytest.raises(IsADirectoryError):
        registry.announce(here)
    in_the_way.rmdir()
    registry.announce(here)
    assert registry.instances("goods") == [here]
