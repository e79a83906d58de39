"""A MariaDB of the tests' own, and a command that runs tests on it.

    python -m tests.support.mysqld pytest tests/integration/test_placing.py

has every lab of these tests keep its databases there.
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

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from labkit.stack.supervisor import ports
from labkit.waiting import wait_until
from tests.support.not_here import NotHere

_USER, _PASSWORD = "labkit_tests", "only-on-loopback"
_NEEDED = (
    "these tests need MariaDB's server: apt-get install mariadb-server-core mariadb-client-core"
)


class Server:
    """One MariaDB in a folder of its own, on a port of the loopback.

    Args:
        folder: where its data lie.

    Raises:
        NotHere: there is no MariaDB on this machine; says what to install.
    """

    def __init__(self, folder: Path) -> None:
        program = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")
        if not (program and shutil.which("mariadb-install-db")):
            raise NotHere(_NEEDED)
        self._folder = folder
        self._program = program
        port, keeper = ports.reserve(0)
        keeper.close()
        self.url = f"mysql+pymysql://{_USER}:{_PASSWORD}@127.0.0.1:{port}/mysql"
        self._port = port
        self._make()
        self.start()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        self._process = subprocess.Popen(
            [
                *(self._program, "--no-defaults", f"--datadir={self._folder / 'data'}"),
                *(f"--port={self._port}", "--bind-address=127.0.0.1", "--skip-name-resolve"),
                *(f"--socket={self._folder / 'mysqld.sock'}", "--innodb-buffer-pool-size=64M"),
                *(f"--init-file={self._folder / 'init.sql'}", "--innodb-log-file-size=16M"),
                *(["--user=root"] if os.getuid() == 0 else []),
            ],
            stdout=subprocess.DEVNULL,
            stderr=(self._folder / "log").open("ab"),
        )
        self._watchdog = _die_with_us(self._process.pid)
        wait_until(self._answers, "MariaDB answers")

    def kill(self) -> None:
        """Kill −9: nothing is flushed that was not."""
        self._watchdog.kill()
        self._watchdog.communicate()
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Stop it where it stands; connections stay open and nobody answers."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def _make(self) -> None:
        (self._folder / "init.sql").write_text(
            f"CREATE USER IF NOT EXISTS '{_USER}'@'%' IDENTIFIED BY '{_PASSWORD}';\n"
            f"GRANT ALL ON *.* TO '{_USER}'@'%' WITH GRANT OPTION;\n"
        )
        made = subprocess.run(
            [
                "mariadb-install-db",
                "--no-defaults",
                f"--datadir={self._folder / 'data'}",
                "--skip-test-db",
                "--auth-root-authentication-method=socket",
                *(["--user=root"] if os.getuid() == 0 else []),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert made.returncode == 0, f"{made.stdout.strip()}\n{_NEEDED}"

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
        engine = create_engine(self.url)
        try:
            with engine.connect() as connection:
                return bool(connection.execute(text("SELECT 1")).scalar())
        except OperationalError:
            return False
        finally:
            engine.dispose()


def _die_with_us(pid: int) -> "subprocess.Popen[bytes]":
    """Kill a process when this one is gone, however it goes.

    In a session of its own, the watchdog outlives a signal to all that this process has started.
    """
    return subprocess.Popen(
        ["sh", "-c", f"read -r _; kill -9 {pid}"],
        stdin=subprocess.PIPE,  # which is at its end as soon as this process is
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """A server for a block; its folder must be short-lived."""
    mine = Server(folder)
    try:
        yield mine
    finally:
        mine.resume()
        mine.kill()


def main() -> int:
    """Run a command with the labs that it starts on a server of its own."""
    with TemporaryDirectory(prefix="labkit-mysqld-") as folder, server(Path(folder)) as mysql:
        return subprocess.run(sys.argv[1:], env=os.environ | {"LABKIT_MYSQL": mysql.url}).returncode


if __name__ == "__main__":
    sys.exit(main())
