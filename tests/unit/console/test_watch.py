"""The console says of a process what was seen, and no more."""

import time
from pathlib import Path

from labkit.console.watch import Watch
from labkit.home import Home
from tests.support.states import state_in_json


def say(home: Home, state: str) -> None:
    """Write into the supervisor's state how goods is."""
    goods = {"name": "goods", "instance": 1, "pid": None, "endpoint": None, "state": state}
    home.state_file.write_text(state_in_json(services=[goods]))


def test_since_when_is_told_where_it_was_seen(tmp_path: Path) -> None:
    """A state that was there at the first look began nobody knows when; a change is seen."""
    home = Home(tmp_path / "home").make()
    watch = Watch(home)
    say(home, "down")
    assert [watch.services()[0]["since"] for _ in range(2)] == [None, None]
    before = time.time()
    say(home, "paused")
    since = watch.services()[0]["since"]
    assert before <= since <= time.time()
    assert watch.services()[0]["since"] == since
    watch.close()


def test_a_change_that_nobody_saw_has_no_time(tmp_path: Path) -> None:
    """Nobody looked for a while: what is another state now became so at some time meanwhile."""
    home = Home(tmp_path / "home").make()
    watch = Watch(home)
    say(home, "up")
    watch.services()
    watch._looked_at -= 60
    say(home, "down")
    assert watch.services()[0]["since"] is None
    watch.close()
