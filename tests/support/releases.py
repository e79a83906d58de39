"""The example releases, unpacked for tests."""

import os
import subprocess
import sys
from pathlib import Path

from labkit.stack.migrations.revisions import parse_release
from labkit.stack.releases.unpack import unpack_into

ROOT = Path(__file__).parents[2]
RELEASES = ("1.0", "1.1", "1.2")


def unpacked(folder: Path, number: str) -> Path:
    """The folder of a release, made below another one."""
    unpack_into(folder / number, parse_release(number))
    return folder / number


def in_release(release: Path, *arguments: str, text: str = "") -> str:
    """What a Python prints that finds a release's package first, and the tests after it."""
    path = os.pathsep.join([str(release), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-P", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
