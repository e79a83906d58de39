"""The notebooks as files, and how a test runs one: shared by the tests of this folder."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = [path.name for path in sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))]

#: Notebook 07 looks behind the servers, and there are none on the embedded stack.
BEHIND_THE_SERVERS = "07_the_real_thing.ipynb"
ON_SERVERS = os.environ.get("LABKIT_STACK") == "containers"
#: Those that can be run on the stack of this test run.
HERE = [name for name in NOTEBOOKS if ON_SERVERS or name != BEHIND_THE_SERVERS]

#: Another suite runs beside the notebooks here: a call that is late is not what they are about.
PATIENT = {
    "LABKIT_CALL_TIMEOUT": "3",
    "LABKIT_FLOW_TIMEOUT": "8",
    "LABKIT_UNCONFIRMED_DEADLINE": "12",
}

Cell = dict[str, Any]


def read(name: str) -> dict[str, Any]:
    """A notebook as its file holds it."""
    notebook: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return notebook


def source(cell: Cell) -> str:
    return "".join(cell["source"])


def prose(name: str) -> list[str]:
    """The texts of a notebook, top to bottom."""
    return [source(cell) for cell in read(name)["cells"] if cell["cell_type"] == "markdown"]


def code(name: str, *tags: str) -> list[Cell]:
    """The code cells of a notebook; only those with one of the tags, where some are named."""
    cells = [cell for cell in read(name)["cells"] if cell["cell_type"] == "code"]
    return [cell for cell in cells if not tags or set(tags) & set(cell["metadata"].get("tags", []))]


def solution(name: str) -> str:
    """The solutions to a notebook's exercises: functions of the names that its stubs have."""
    return (FOLDER / "solutions" / name).with_suffix(".py").read_text(encoding="utf-8")


def copy_to(folder: Path) -> Path:
    """The notebooks where they can be run without a trace in the clone: homes lie beside them."""
    copied = folder / "notebooks"
    shutil.copytree(FOLDER, copied, ignore=shutil.ignore_patterns(".*"))
    return copied


def run_strictly(folder: Path, names: Sequence[str], cell_seconds: int = 300) -> None:
    """Run notebooks, each in a kernel of its own, and compare every output with the kept one."""
    command = [
        *(sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env"),
        *(f"--nbval-cell-timeout={cell_seconds}", "-p", "no:cacheprovider", "-p", "no:xdist", "-q"),
        *names,
    ]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        command, cwd=folder, env=env | PATIENT, capture_output=True, text=True, check=False
    )
    _, _, failures = done.stdout.partition("= FAILURES =")  # the first is the cause of the others
    assert done.returncode == 0, failures[:6000] + done.stdout[-2000:] + done.stderr[-2000:]
