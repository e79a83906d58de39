"""The command line, run many times: a process that has loaded it forks for each command.

    with warm_labkit() as run:
        done = run("status", home=home)

To load it takes longer than most commands take.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.db import Done

Run = Callable[..., Done]

_READY = "ready"
#: Reads the words of a command and where its output goes, a line each time; says how it ended.
_LOADED = """
import json, os, sys
from labkit import cli
cli.load()
print("ready", flush=True)
for line in sys.stdin:
    words, out, err = json.loads(line)
    child = os.fork()
    if not child:
        for number, path in ((0, os.devnull), (1, out), (2, err)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), number)
        sys.argv = ["labkit", *words]
        try:
            cli.main()
        finally:  # as Python itself ends: what cannot be flushed is an error then
            sys.stdout.flush()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@contextmanager
def warm_labkit(*within: str) -> Iterator[Run]:
    """Keep a command line loaded for a block; see `tests.support.db.labkit`.

    Args:
        within: a command that runs another one somewhere else, as `unshare`.
    """
    loaded = subprocess.Popen(
        [*within, sys.executable, "-c", _LOADED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "300"},
    )
    asks, answers = loaded.stdin, loaded.stdout
    assert asks
    assert answers
    assert answers.readline().strip() == _READY
    with tempfile.TemporaryDirectory(prefix="warm-") as folder:

        def run(*words: str, home: Path) -> Done:
            out, err = Path(folder) / "out", Path(folder) / "err"
            for file in (out, err):
                file.unlink(missing_ok=True)
            command = [*words, "--home", str(home)]
            asks.write(json.dumps([command, str(out), str(err)]) + "\n")
            asks.flush()
            code = int(answers.readline())
            return subprocess.CompletedProcess(command, code, out.read_text(), err.read_text())

        try:
            yield run
        finally:
            asks.close()
            loaded.wait()
