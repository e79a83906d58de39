"""The moment in which a supervisor was started and nobody knows it yet."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from labkit.files import try_lock
from labkit.home import Home
from labkit.stack.supervisor import launch
from labkit.waiting import wait_until


def supervisors(home: Home) -> list[psutil.Process]:
    """Return every supervisor of a home, by its command line."""
    processes = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if any(f'"home": "{home.folder}"' in word for word in words):
            processes.append(process)
    return processes


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home in which no supervisor is left at the end."""
    home = Home(tmp_path / "home")
    yield home
    for process in supervisors(home):
        process.kill()


def test_an_interrupt_right_after_the_fork_leaves_nobody(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C comes before the process has a name here: it ends by itself, and holds no lock."""

    def interrupt(*_words: object) -> None:
        assert supervisors(home)
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "_sign_or_end", interrupt)
    with pytest.raises(KeyboardInterrupt):
        launch.up(home)
    wait_until(lambda: not supervisors(home), "the supervisor has ended")
    assert try_lock(home.lock_file) is not None
    assert "interrupted" in (home.logs / "supervisor.log").read_text()
