"""Waiting for a lab to come up: what an earlier supervisor wrote is no sign of the new one."""

import json
import os
from pathlib import Path
from typing import Any, cast

import pytest

from labkit.home import Home
from labkit.stack.supervisor import launch
from labkit.stack.supervisor.status import EMPTY_STATUS


class Dead:
    """A supervisor that died at its start, under the pid that an earlier one had."""

    pid = os.getpid()

    def poll(self) -> int:
        """Tell that it is dead."""
        return 1


def test_an_earlier_supervisor_of_the_same_pid_is_not_this_one(tmp_path: Path) -> None:
    """In a container the pids begin again with each start, and the state of before says `up`."""
    home = Home(tmp_path / "home").make()
    earlier: dict[str, Any] = {
        **EMPTY_STATUS,
        "phase": "up",
        "supervisor": Dead.pid,
        "supervisor_birth": "another boot/1",
        "generation": 0,
        "topic_prefix": "",
    }
    home.state_file.write_text(json.dumps(earlier))
    with pytest.raises(launch._NotUp, match="died"):
        launch._wait(home, cast(Any, Dead()), lambda _: None)
