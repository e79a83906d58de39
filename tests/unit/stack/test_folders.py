"""A home on a file system that shares neither locks nor memory is warned of."""

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from labkit.stack.supervisor.folders import warning_for


@pytest.mark.parametrize("kind", ["nfs4", "9p", "virtiofs", "cifs", "fuse.sshfs", "ext4", "tmpfs"])
def test_a_foreign_file_system_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The mount nearest above counts, also for a home that is not made yet."""
    mounts = [
        SimpleNamespace(mountpoint="/", fstype="ext4"),
        SimpleNamespace(mountpoint=str(tmp_path), fstype=kind),
    ]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: mounts)
    warning = warning_for(tmp_path / "class" / ".lab")
    assert (warning is None) == (kind in ("ext4", "tmpfs"))
    assert warning_for(Path("/nowhere/.lab")) is None
    if warning:
        assert kind in warning
        assert "\n" not in warning
