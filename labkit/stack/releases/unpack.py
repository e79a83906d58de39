"""Unpacking a release into a home: from a folder, or from the differences that the course keeps."""

import filecmp
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import labkit
from labkit.files import locked
from labkit.home import Home
from labkit.stack.migrations.revisions import ReleaseNumber, parse_release
from labkit.stack.releases.notes import releases_of
from labkit.stack.releases.release import Release, number_in, own

_HERE = Path(labkit.__file__).parent
_DRAFT = "draft-"
_UNNEEDED = shutil.ignore_patterns(".*")


def find(home: Home, wanted: str) -> Release:
    """Return a release, unpacked in a home.

    Args:
        home: where its processes will run.
        wanted: its number, or a folder that holds its package `labkit`.

    Raises:
        ValueError: there is no such release; says which there are.
    """
    if Path(wanted).is_dir():
        with _alone(home):
            return _from_folder(home, Path(wanted).absolute())
    number = parse_release(wanted)
    if number == own().number:
        return own()
    release = Release(number, home.releases / str(number))
    with _alone(home):
        if not release.package.is_dir():
            _unpack(home, number)
    return release


def differences() -> dict[ReleaseNumber, Path]:
    """Return the releases that follow this one, each with its differences from the one before."""
    folder = _HERE.parent / "course" / "releases"
    folder = folder if folder.is_dir() else _HERE / "_releases"
    found = {parse_release(file.stem): file for file in folder.glob("*.diff")}
    return {number: found[number] for number in sorted(found) if number > own().number}


def apply(file: Path, folder: Path) -> None:
    """Apply differences to the files of a folder, each exactly where it belongs.

    Raises:
        ValueError: they do not fit.
    """
    import patch_ng  # seldom needed

    patches = patch_ng.fromfile(str(file))
    if not patches or not patches.apply(root=str(folder)):
        raise ValueError(f"{file} does not fit the release before it")


def unpack_into(folder: Path, number: ReleaseNumber) -> None:
    """Make a folder that holds a release: ours, or one of those that follow it.

    Raises:
        ValueError: the differences of one do not fit what is there.
    """
    copy_release(_HERE.parent, folder)
    for each, file in differences().items():
        if each <= number:
            apply(file, folder)


def _from_folder(home: Home, folder: Path) -> Release:
    number = number_in(folder)
    if folder / "labkit" == _HERE:
        return own()
    release = Release(number, home.releases / str(number))
    if number == own().number:
        raise ValueError(f"{folder} calls itself {number}, as the release that runs: number it")
    if release.package.is_dir():
        if _is_same(folder / "labkit", release.package):
            return release
        if _is_used(home, number):
            text = f"services run another release {number}"
            raise ValueError(f"{text}: give the one in {folder} a number of its own")
        shutil.rmtree(home.releases / str(number))
    _place(home, release, lambda draft: copy_release(folder, draft))
    return release


def _unpack(home: Home, number: ReleaseNumber) -> None:
    known = differences()
    if number not in known:
        names = ", ".join(map(str, [own().number, *known]))
        raise ValueError(f"there is no release {number}: there are {names}, or name a folder")
    release = Release(number, home.releases / str(number))
    _place(home, release, lambda draft: unpack_into(draft, number))


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Unpack alone, for a block; what somebody who was killed has left is removed."""
    home.releases.mkdir(exist_ok=True)
    with locked(home.releases / "lock"):
        for draft in home.releases.glob(f"{_DRAFT}*"):
            shutil.rmtree(draft)
        yield


def _is_used(home: Home, number: ReleaseNumber) -> bool:
    """Return True if a process runs a release, or will when the lab comes up."""
    services = home.state().get("services", [])
    running = {service.get("release") for service in services if service["pid"]}
    return str(number) in running or number in {each.number for each in releases_of(home).values()}


def _place(home: Home, release: Release, fill: Callable[[Path], None]) -> None:
    """Make a release's folder whole, or not at all."""
    assert release.folder
    draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=home.releases))
    try:
        fill(draft)
        draft.rename(release.folder)
    except BaseException:
        shutil.rmtree(draft)
        raise


def copy_release(source: Path, target: Path) -> None:
    """Copy what belongs to a release from one folder to another, which is made."""
    shutil.copytree(source / "labkit", target / "labkit", ignore=_UNNEEDED)
    for beside in ("data", "compose"):  # a wheel has both in its package
        if (source / beside).is_dir():
            shutil.copytree(source / beside, target / beside, ignore=_UNNEEDED)


def _is_same(first: Path, second: Path) -> bool:
    """Return True if two packages have the same source."""
    names = [
        {file.relative_to(folder) for file in folder.rglob("*.py")} for folder in (first, second)
    ]
    if names[0] != names[1]:
        return False
    _same, different, unread = filecmp.cmpfiles(first, second, names[0], shallow=False)
    return not different and not unread
