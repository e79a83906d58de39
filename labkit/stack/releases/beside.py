"""Two neighbouring releases beside each other, for whoever tries what they do together.

It runs in the later one. The earlier one lies in a folder, which an environment variable names.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from labkit.stack.migrations.revisions import parse_release
from labkit.stack.releases.newest import command_of
from labkit.stack.releases.release import Release, number_in, own
from labkit.stack.releases.unpack import differences, unpack_into

#: The environment variable that names the folder of the earlier release.
EARLIER = "LABKIT_EARLIER_RELEASE"


def earlier() -> Release | None:
    """Return the release that is to run beside this one; None where this one runs alone."""
    folder = os.environ.get(EARLIER)
    return Release(number_in(Path(folder)), Path(folder)) if folder else None


def run_again(releases: str) -> int:
    """Run the same command of the later one of two releases, beside the earlier one.

    Args:
        releases: their numbers, as `1.0,1.1`.

    Returns:
        Its exit code.

    Raises:
        ValueError: there are no such releases, or they are no neighbours.
    """
    first, _, second = releases.partition(",")
    old, new = parse_release(first.strip()), parse_release(second.strip())
    if old >= new or not old.is_next_to(new) or not {old, new} <= {own().number, *differences()}:
        raise ValueError(f"{releases}: write two releases that follow each other, as 1.0,1.1")
    with tempfile.TemporaryDirectory(prefix="releases-") as name:
        folders = {number: Path(name) / str(number) for number in (old, new)}
        for number, folder in folders.items():
            unpack_into(folder, number)
        later = Release(new, folders[new])
        environment = {**os.environ, **later.environment, EARLIER: str(folders[old])}
        return subprocess.run(
            [*command_of(), *sys.argv[1:]], env=environment, check=False
        ).returncode


def options() -> str:
    """Return what has to be said to a command so that it runs beside the same release again."""
    release = earlier()
    return f"--releases {release.number},{own().number} " if release else ""


def is_there() -> bool:
    """Return True if this process runs beside an earlier release already."""
    return (release := earlier()) is not None and release.number < own().number
