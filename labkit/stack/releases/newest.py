"""The newest release that a lab runs, or has run: its code reads the databases, and checks them.

Invariants read what services write, in every detail: a checker is upgraded with the shop.
"""

import json
import os
import subprocess
import sys

from labkit.home import Home
from labkit.ops.invariants import check as invariants
from labkit.ops.invariants.check import CheckResult
from labkit.ops.reader import Reader
from labkit.stack.releases.notes import releases_of
from labkit.stack.releases.release import Release, own
from labkit.stack.releases.schema import STATEFUL, schema_of


def newest_of(home: Home) -> Release:
    """Return the newest release that a service of a lab runs, or has run: its rows are there."""
    releases = [own(), *releases_of(home).values()]
    if home.releases.is_dir():
        revisions = [schema_of(home, service, own()).at for service in STATEFUL]
        folders = {at.release: home.releases / str(at.release) for at in revisions if at}
        releases += [
            Release(number, folder) for number, folder in folders.items() if folder.is_dir()
        ]
    return max(releases, key=lambda release: release.number)


def check(home: Home, reader: Reader) -> list[CheckResult]:
    """Check the invariants of a lab, by the newest release that it runs.

    Args:
        home: of the lab.
        reader: of its databases.

    Raises:
        RuntimeError: the newest release cannot check them.
    """
    release = newest_of(home)
    if release == own():
        return invariants.check(reader)
    done = subprocess.run(
        [*command_of(), "check", "--json", "--home", str(home.folder)],
        env={**os.environ, **release.environment},
        capture_output=True,
        check=False,
        text=True,
    )
    try:
        results: list[CheckResult] = json.loads(done.stdout)
    except ValueError:
        text = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RuntimeError(f"release {release.number} cannot check: {text[-1]}") from None
    return results


def command_of() -> list[str]:
    """Return the command line of labkit, as whichever release is found first runs it."""
    return [sys.executable, "-P", "-m", "labkit"]


def hand_over(home: Home) -> None:
    """Become the same command of the newest release of a lab, if that is later than ours."""
    release = newest_of(home)
    if release.number > own().number:
        command = [*command_of(), *sys.argv[1:]]
        os.execve(command[0], command, {**os.environ, **release.environment})
