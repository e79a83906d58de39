"""A command loads what it needs, and no more: people wait for that each time."""

import subprocess
import sys

import pytest
import typer

from labkit.cli import COMMANDS, load
from labkit.cli.base import app

#: Each takes 0.1 s or more to load, and a command that looks at tables needs none of them.
HEAVY = {"aiohttp", "docker", "fastapi", "kafka", "pandas", "uvicorn"}
#: What whoever looks at the databases needs not either: clients, and what the shop does.
BESIDE = {"httpx", "kazoo", "labkit.faults", "labkit.shop.wiring", "psutil"}
_LOOK = """
import atexit, sys
atexit.register(lambda: print("LOADED", *sys.modules))
from labkit.cli import main
main()
"""


def loaded_by(*words: str) -> set[str]:
    """Run a command that ends well, and return the modules that it loaded."""
    command = [sys.executable, "-c", _LOOK, *words]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(process.stdout.rpartition("LOADED")[2].split())


@pytest.mark.parametrize("words", [("--help",), ("check", "--help"), ("matrix", "--help")])
def test_a_command_loads_little(words: tuple[str, ...]) -> None:
    """No command loads the servers' and tables' packages before it does anything."""
    loaded = loaded_by(*words)
    assert "typer" in loaded
    assert not HEAVY & loaded


def test_who_looks_at_tables_loads_less() -> None:
    """One who looks at data waits neither for clients nor for the faults."""
    assert not (HEAVY | BESIDE) & loaded_by("tables", "--help")


def test_each_command_is_found_in_its_module() -> None:
    """The list by which a command is loaded names all that there are, each where it stands."""
    load()
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    listed = {name: f"labkit.cli.{module}" for module, names in COMMANDS.items() for name in names}
    assert {name: command.callback.__module__ for name, command in commands.items()} == listed
