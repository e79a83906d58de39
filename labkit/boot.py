"""The identity of a boot: readings of the monotonic clock can be compared within one alone."""

import ctypes
import sys
from functools import cache
from pathlib import Path

_LINUX = Path("/proc/sys/kernel/random/boot_id")
_MACOS = b"kern.bootsessionuuid"
_LETTERS = 64


@cache
def boot_id() -> str:
    """Return the id of this boot of the machine, which no setting of the wall clock changes."""
    try:
        return _LINUX.read_text().strip() if sys.platform == "linux" else _of_macos()
    except OSError:  # a system without such an id: its boots look all the same
        return ""


def _of_macos() -> str:
    text, size = ctypes.create_string_buffer(_LETTERS), ctypes.c_size_t(_LETTERS)
    if ctypes.CDLL(None).sysctlbyname(_MACOS, text, ctypes.byref(size), None, 0):
        raise OSError("the system does not name its boot session")
    return text.value.decode()
