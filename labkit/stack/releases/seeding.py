"""First data for a lab of several releases: the oldest one makes the tables, others expand them.

As a program, `python -m labkit.stack.releases.seeding` reads what it is to do from its input: the
addresses of databases hold passwords.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime

from labkit.home import Home
from labkit.stack.boundaries import Cross, uncrossed
from labkit.stack.releases.notes import releases_of
from labkit.stack.releases.release import own
from labkit.stack.setup.seeds import Seeds, seed


def seed_for_all(
    home: Home, urls: Mapping[str, str], seeds: Seeds, now: datetime, cross: Cross = uncrossed
) -> None:
    """Make the tables anew as the oldest release that runs has them, and put the seeds in.

    Args:
        home: of the lab.
        urls: service → URL of its database, which is emptied.
        seeds: the amount of data.
        now: business time of the opening rows.
        cross: called with the name of each boundary, where this release is the oldest.

    Raises:
        RuntimeError: the oldest release cannot do it.
    """
    oldest = min([own(), *releases_of(home).values()], key=lambda release: release.number)
    if oldest == own():
        return seed(urls, seeds, now, cross)
    spec = {"urls": dict(urls), "seeds": seeds.model_dump(), "now": now.isoformat()}
    done = subprocess.run(
        [sys.executable, "-P", "-m", __name__],
        input=json.dumps(spec),
        env={**os.environ, **oldest.environment},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        text = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RuntimeError(f"release {oldest.number} cannot make its databases: {text[-1]}")
    return None


def main() -> None:
    """Seed what the input names."""
    spec = json.load(sys.stdin)
    seed(spec["urls"], Seeds(**spec["seeds"]), datetime.fromisoformat(spec["now"]))


if __name__ == "__main__":
    main()
