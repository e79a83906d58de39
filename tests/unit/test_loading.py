"""A command loads what it needs, and no more: people wait for that each time."""

import subprocess
import sys

#: Each takes 0.1 s or more to load, and a command that looks at tables needs none of them.
HEAVY = {"aiohttp", "docker", "fastapi", "kafka", "pandas", "uvicorn"}
_LOOK = """
import atexit, sys
atexit.register(lambda: print("LOADED", *sys.modules))
sys.argv = ["labkit", "--help"]
from labkit.cli import main
main()
"""


def test_a_command_loads_little() -> None:
    """The command line, with all its commands, loads none of the servers' and tables' packages."""
    said = subprocess.run([sys.executable, "-c", _LOOK], capture_output=True, text=True, check=True)
    loaded = set(said.stdout.rpartition("LOADED")[2].split())
    assert "typer" in loaded
    assert not HEAVY & loaded
