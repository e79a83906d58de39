"""Programs of a release: its own code, in a process of its own, that never outlives whoever asks.

What it is to do is the first line of its input and not an argument, because the addresses of
databases hold passwords. What follows that line is its lifeline.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from labkit.stack.releases.release import Release
from labkit.stack.supervisor.spawn import hold_lifeline


def run(module: str, release: Release, spec: Mapping[str, Any], keep: Sequence[int] = ()) -> None:
    """Run a program of a release and wait for its end.

    Args:
        module: its name.
        release: whose code it is.
        spec: what it is to do, as `read_spec` returns it.
        keep: descriptors of locks that it keeps for as long as it lives.

    Raises:
        RuntimeError: it failed, with its last line, or was killed.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **release.environment},
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
        raise RuntimeError(errors[-1] if errors else f"it was killed (exit code {code})")


def read_spec() -> dict[str, Any]:
    """Return what this process is to do; from here on it ends when its input does."""
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as unread:  # not a byte more
        spec: dict[str, Any] = json.loads(unread.readline())
    hold_lifeline(sys.stdin.fileno())
    return spec
