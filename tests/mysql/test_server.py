"""The tests' own MariaDB goes with the process that started it."""

import subprocess
import sys
from pathlib import Path

import psutil

from labkit.waiting import wait_until

_START = """
import sys
from pathlib import Path
from tests.support.mysqld import Server
print(Server(Path(sys.argv[1]))._process.pid, flush=True)
sys.stdin.read()
"""


def test_a_server_goes_with_a_killed_starter(tmp_path: Path) -> None:
    """The process that started it is killed with −9, as a run of the bugs may be: it goes too."""
    command = [sys.executable, "-c", _START, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as starter:
        assert starter.stdout
        pid = int(starter.stdout.readline())
        assert psutil.pid_exists(pid)
        starter.kill()
    wait_until(lambda: not psutil.pid_exists(pid), "MariaDB is gone", 60)
