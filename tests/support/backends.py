"""MySQL, Kafka and ZooKeeper in containers for a test run, and a command that runs tests on them.

    python -m tests.support.backends pytest tests/integration/test_placing.py

has every lab of these tests, and of the notebooks that they run, stand there.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from labkit.settings import Settings
from labkit.stack.containers import engine
from labkit.stack.containers import stack as containers
from tests.support.containers.stacks import environment, own_settings, sweep


@contextmanager
def own_stack() -> Iterator[Settings]:
    """Settings of a stack that is up for a block; with the block all goes that it held."""
    with engine.connect() as docker:
        sweep(docker)
    settings = own_settings()
    try:
        containers.up(settings, print)
        yield settings
    finally:
        containers.down(settings, volumes=True)


def main() -> int:
    """Run a command with the labs that it starts on a stack of its own."""
    with own_stack() as stack:
        return subprocess.run(sys.argv[1:], env=os.environ | environment(stack)).returncode


if __name__ == "__main__":
    sys.exit(main())
