"""Asking the processes of a lab whether they answer."""

import gc
import os
import warnings
from pathlib import Path

import pytest

from labkit.home import Home
from labkit.stack.supervisor import health, holder, spawn
from tests.support.states import state_in_json


def test_a_broken_secret_is_one_error_and_no_warning(tmp_path: Path) -> None:
    """It is read before any process is asked, so that no question is left that nobody awaits."""
    home = Home(tmp_path / "home").make()
    webs = [
        {"name": name, "instance": 1, "pid": None, "endpoint": "127.0.0.1:1", "state": "up"}
        for name in ("order-web", "goods")
    ]
    birth = spawn.birth(os.getpid())
    home.state_file.write_text(
        state_in_json(supervisor=os.getpid(), supervisor_birth=birth, services=webs)
    )
    with home.lock_file.open("w") as lock:
        holder.sign(lock.fileno(), os.getpid())
    home.secret_file.write_text("")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(ValueError, match=f"the file {home.secret_file} is broken"):
            health.ask(home)
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
