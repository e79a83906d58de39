"""File systems that are known not to do what a home needs.

Databases, counters and locks rest on memory that processes of one machine share through files, and
on locks that the system drops with their holder: file systems of a network, or of another system
below a virtual machine, do not give both.
"""

from pathlib import Path

import psutil

_FOREIGN = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "virtiofs",
    "fuse.sshfs",
    "fuse.glusterfs",
    "vboxsf",
    "drvfs",
    "prl_fs",
    "afs",
    "ceph",
    "lustre",
    "osxfs",
    "grpcfuse",
)


def warning_for(folder: Path) -> str | None:
    """Return why a home does not belong in a folder, in one line; None where it can lie there."""
    kind = _kind_of(folder.resolve())
    if not kind.startswith(_FOREIGN):
        return None
    return (
        f"{folder} is on {kind}, where locks and shared memory cannot be relied on: "
        "name a folder on a disk of this machine with --home, as in your home directory"
    )


def _kind_of(folder: Path) -> str:
    """Return the kind of file system that a folder lies on, or would."""
    mounts = {
        Path(partition.mountpoint): partition.fstype
        for partition in psutil.disk_partitions(all=True)
    }
    return next((mounts[place] for place in (folder, *folder.parents) if place in mounts), "")
