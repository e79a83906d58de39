"""A ZooKeeper of the tests' own, from a folder of jars that LABKIT_TEST_ZOOKEEPER_JARS names.

    python -m tests.zookeeperd pytest tests/integration/test_placing.py

has every lab of these tests use it as its registry.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from labkit.runtime.ensemble import serves
from labkit.stack import ports
from tests.waiting import until

_NEEDED = "LABKIT_TEST_ZOOKEEPER_JARS does not name a folder with ZooKeeper's jars"
_CONFIG = """
tickTime=500
minSessionTimeout=1000
maxSessionTimeout=60000
dataDir={data}
clientPort={port}
clientPortAddress=127.0.0.1
admin.enableServer=false
4lw.commands.whitelist=srvr
"""


class Server:
    """One ZooKeeper in a folder of its own, on a port of the loopback.

    Args:
        folder: where its data lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._jars = Path(os.environ.get("LABKIT_TEST_ZOOKEEPER_JARS", "/nowhere"))
        if not list(self._jars.glob("zookeeper-*.jar")):
            pytest.skip(_NEEDED)
        port, keeper = ports.reserve(0)
        keeper.close()
        self.address = f"127.0.0.1:{port}"
        self._port = port
        data = folder / "data"
        (folder / "zoo.cfg").write_text(_CONFIG.format(data=data, port=port))
        self.start()

    def start(self) -> None:
        """Start the server, and wait until it is ready."""
        self._process = subprocess.Popen(
            [
                *("java", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Xmx64m"),
                *("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{self._jars}/*"),
                "org.apache.zookeeper.server.ZooKeeperServerMain", str(self._folder / "zoo.cfg"),
            ],
            stdout=subprocess.DEVNULL, stderr=(self._folder / "log").open("ab"),
        )  # fmt: skip
        until(self._ready, "ZooKeeper is ready", seconds=30)

    def kill(self) -> None:
        """Kill −9."""
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Stop it where it stands; connections stay open and nobody answers."""
        self._process.send_signal(signal.SIGSTOP)

    def unpause(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def forget(self) -> None:
        """Lose all data; it must be dead."""
        shutil.rmtree(self._folder / "data")

    def _ready(self) -> bool:
        assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
        return serves("127.0.0.1", self._port)


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """A server for a block; its folder must be short-lived."""
    mine = Server(folder)
    try:
        yield mine
    finally:
        mine.unpause()
        mine.kill()


def main() -> int:
    """Run a command with the labs that it starts on a server of its own."""
    with TemporaryDirectory(prefix="labkit-zookeeper-") as folder, server(Path(folder)) as one:
        environment = os.environ | {"LABKIT_ZOOKEEPER": one.address}
        return subprocess.run(sys.argv[1:], env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
