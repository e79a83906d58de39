"""First data for a lab of several releases: the oldest one makes the tables, others expand them.

As a program, `python -m labkit.stack.releases.seeding` reads what it is to do from its input: the
addresses of databases hold passwords.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime

from labkit.home import Home
from labkit.stack.boundaries import Cross, uncrossed
from labkit.stack.releases.notes import releases_of
from labkit.stack.releases.release import own
from labkit.stack.setup.seeds import Seeds, seed
from labkit.stack.supervisor.spawn import hold_lifeline


def seed_for_all(
    home: Home,
    urls: Mapping[str, str],
    seeds: Seeds,
    now: datetime,
    cross: Cross = uncrossed,
    keep: Sequence[int] = (),
) -> None:
    """Make the tables anew as the oldest release that runs has them, and put the seeds in.

    Args:
        home: of the lab.
        urls: service → URL of its database, which is emptied.
        seeds: the amount of data.
        now: business time of the opening rows.
        cross: called with the name of each boundary, where this release is the oldest.
        keep: descriptors of locks that whoever does it keeps for as long as it lives.

    Raises:
        RuntimeError: the oldest release cannot do it.
    """
    oldest = min([own(), *releases_of(home).values()], key=lambda release: release.number)
    if oldest == own():
        return seed(urls, seeds, now, cross)
    spec = {"urls": dict(urls), "seeds": seeds.model_dump(), "now": now.isoformat()}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE,  # after the line that says what to do, its lifeline
        stderr=subprocess.PIPE,
        env={**os.environ, **oldest.environment},
        pass_fds=tuple(keep),
    )
    assert process.stdin
    assert process.stderr
    with process.stdin:
        process.stdin.write(json.dumps(spec).encode() + b"\n")
        process.stdin.flush()
        errors = process.stderr.read().decode(errors="replace").strip().splitlines()
        code = process.wait()
    if code:
        last = errors[-1] if errors else f"it was killed (exit code {code})"
        raise RuntimeError(f"release {oldest.number} cannot make its databases: {last}")
    return None


def main() -> None:
    """Seed what the first line of the input names; end when the input does."""
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as unread:  # not a byte more
        spec = json.loads(unread.readline())
    hold_lifeline(sys.stdin.fileno())
    seed(spec["urls"], Seeds(**spec["seeds"]), datetime.fromisoformat(spec["now"]))


if __name__ == "__main__":
    main()
