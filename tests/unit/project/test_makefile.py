"""The Makefile starts JupyterLab for whoever runs it, root in a container included."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def lab_command(tmp_path: Path, uid: str, *words: str) -> str:
    """Return the command that `make lab` would run, for the user with this id."""
    fake = tmp_path / "id"
    fake.write_text(f"#!/bin/sh\necho {uid}\n")
    fake.chmod(0o755)
    # A make that runs these tests hands its options on: this one is a make of its own.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    command = ["make", "--dry-run", "lab", *words]
    printed = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    return printed.splitlines()[-1]


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
def test_make_lab_runs_as_root_too(tmp_path: Path) -> None:
    """JupyterLab refuses root without an option, and nobody else needs it; more can be given."""
    assert "jupyter lab --allow-root" in lab_command(tmp_path, "0")
    assert "--allow-root" not in lab_command(tmp_path, "1000")
    assert "--ip 0.0.0.0 notebooks/" in lab_command(tmp_path, "1000", "JUPYTER=--ip 0.0.0.0")
