"""First data for a lab of several releases: the oldest one makes the tables, others expand them.

The oldest release does it by its own code, in `python -m labkit.stack.releases.seeding`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from labkit.home import Home
from labkit.stack.boundaries import Cross, uncrossed
from labkit.stack.releases import program
from labkit.stack.releases.notes import releases_of
from labkit.stack.releases.release import own
from labkit.stack.setup.seeds import Seeds, seed


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
    try:
        program.run(__name__, oldest, spec, keep)
    except RuntimeError as error:
        text = f"release {oldest.number} cannot make its databases: {error}"
        raise RuntimeError(text) from None
    return None


def main() -> None:
    """Seed what the input names; end when the input does."""
    spec = program.read_spec()
    seed(spec["urls"], Seeds(**spec["seeds"]), datetime.fromisoformat(spec["now"]))


if __name__ == "__main__":
    main()
