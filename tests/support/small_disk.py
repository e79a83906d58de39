"""Disks that are small enough to be filled: each a tmpfs of its own, mounted for one test."""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.not_here import NotHere

#: In the environment of a test that was run again where it may mount.
_IN_A_NAMESPACE = "LABKIT_TEST_MAY_MOUNT"
_OWN_WORLD = ["unshare", "--user", "--map-root-user", "--mount"]
_PAGE = 4096


@contextmanager
def small_disk(folder: Path, megabytes: int = 16) -> Iterator[Path]:
    """Mount a disk for a block, in a folder that is made for it.

    Raises:
        CannotMount: this process may not.
    """
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        raise CannotMount(
            "a full disk is not playable here: mounting a small one takes root "
            "(or: unshare --user --map-root-user --mount)"
        )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


class CannotMount(NotHere):
    """Nobody but root may mount; the message says what to do."""


def fill(folder: Path) -> Path:
    """Write until not one more page fits; returns the file, which gives it all back."""
    file = folder / "fill"
    with file.open("wb", buffering=0) as filling, suppress(OSError):
        while True:
            filling.write(bytes(_PAGE))
    return file


def on_a_small_disk(test: Callable[[Path], None]) -> Callable[..., None]:
    """Run a test on a disk of its own, whose folder it is handed.

    Who may not mount runs it in a user namespace, where he may; where that is not permitted either,
    the test is skipped.
    """

    def run(request: pytest.FixtureRequest, tmp_path: Path) -> None:
        try:
            with small_disk(tmp_path / "small") as folder:
                test(folder)
        except CannotMount as error:
            if _IN_A_NAMESPACE in os.environ or not _may_unshare():
                pytest.skip(str(error))
            _run_in_a_namespace(request.node.nodeid, request.config.rootpath)

    run.__doc__ = test.__doc__
    run.__name__ = test.__name__
    run.__module__ = test.__module__
    return run


@functools.cache
def _may_unshare() -> bool:
    if not shutil.which("unshare"):
        return False
    return subprocess.run([*_OWN_WORLD, "true"], capture_output=True).returncode == 0


def _run_in_a_namespace(test: str, root: Path) -> None:
    pytest_again = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    world = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ended = subprocess.run(
        [*_OWN_WORLD, *pytest_again],
        cwd=root,
        env={**world, _IN_A_NAMESPACE: "1"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
