"""Mixes of two releases, for labs of the matrix: each is a deployment that has come so far."""

from labkit.home import Home
from labkit.stack.releases.beside import earlier
from labkit.stack.releases.notes import note
from labkit.stack.releases.order import deploy_order


def mix_releases(home: Home, number: int) -> None:
    """Have a lab run two releases when it comes up, where an earlier one is to run beside ours.

    Args:
        home: of the lab, which is down.
        number: which mix: as many services of the deployment run our release, at least one runs
            the earlier one.
    """
    release = earlier()
    if release is None or release.folder is None:
        return
    order = deploy_order()
    home.make()
    home.releases.mkdir()
    (home.releases / str(release.number)).symlink_to(release.folder)
    for name in order[number % len(order) :]:
        note(home, name, release)
