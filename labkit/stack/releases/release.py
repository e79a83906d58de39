"""One release of the shop: a folder that holds the whole package, as a deployment would unpack it.

Processes of a release are Pythons of their own that find its package first. The release that runs
the supervisor needs no folder: its processes are forked.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import labkit
from labkit.home import Home
from labkit.shop import RELEASE
from labkit.stack.migrations.revisions import ReleaseNumber, Revision, parse_release, revisions_of

#: Beside `labkit/`, what a release that is no wheel finds there.
_PACKAGE, _NUMBER = "labkit", re.compile(r'^RELEASE = "(.+)"$', re.MULTILINE)


@dataclass(frozen=True)
class Release:
    """A release of the shop.

    Attributes:
        number: its number.
        folder: that holds its package; None for the release that runs this process.
    """

    number: ReleaseNumber
    folder: Path | None = None

    @property
    def package(self) -> Path:
        """Return the folder of its package."""
        return self.folder / _PACKAGE if self.folder else Path(labkit.__file__).parent

    @property
    def environment(self) -> Mapping[str, str]:
        """Return what the environment of its processes has besides ours."""
        if not self.folder:
            return {}
        earlier = os.environ.get("PYTHONPATH")
        return {"PYTHONPATH": os.pathsep.join(filter(None, [str(self.folder), earlier]))}

    def revisions(self, service: str) -> list[Revision]:
        """Return the revisions that it knows of a service's database."""
        return revisions_of(service, self.package)


def own() -> Release:
    """Return the release that runs this process."""
    return Release(parse_release(RELEASE))


def installed(home: Home, number: str) -> Release:
    """Return a release that is unpacked in a home, or the one that runs.

    Raises:
        ValueError: it is not there.
    """
    release = Release(parse_release(number), home.releases / number)
    if release.number == own().number:
        return own()
    if not release.package.is_dir():
        raise ValueError(f"release {number} is not in {home.releases}: put it (back) there")
    return release


def number_in(folder: Path) -> ReleaseNumber:
    """Return the number of the release that a folder holds.

    Raises:
        ValueError: it holds none.
    """
    shop = folder / _PACKAGE / "shop" / "__init__.py"
    match = _NUMBER.search(shop.read_text("utf-8")) if shop.is_file() else None
    if not match:
        raise ValueError(f"{folder} holds no release: there is no labkit/shop with a RELEASE in it")
    return parse_release(match[1])
