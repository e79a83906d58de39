"""A lab without safety, to see what safety costs. It is measured and thrown away.

    python -m bench.unsafe '{"home": …}'

is the supervisor with the operations and the outbox taken out before anything is forked, and with
them everything that the inbox would have to do: a step that comes twice is done twice, a cancelled
order gives nothing back. The product has no such switch.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.ground import Ground
from labkit.home import Home
from labkit.results import Result
from labkit.runtime.db.transaction import Transaction
from labkit.shop import coupons, goods, users
from labkit.shop.codes import Code
from labkit.shop.order import steps
from labkit.stack import __main__ as program
from labkit.stack.supervisor import launch, spawn
from labkit.waiting import poll_until

_UP_SECONDS = 120  # a busy machine takes long to load; whoever measures waits


class _Unclaimed:
    """Stands where an operation would: claims nothing, keeps nothing."""

    previous_result = None

    def apply(self, amount: int = 0, data: Any = None) -> Result[Any]:  # noqa: ARG002  # not kept
        """Say that the change was made."""
        return Result[Any].ok(data)

    def refuse(self, code: Code, message: str) -> Result[Any]:
        """Say that a rule refused."""
        return Result[Any].refused(code, message)

    def release(self, result: Result[Any]) -> Result[Any]:
        """Somebody else's answer."""
        return result


def take_out_safety() -> None:
    """Switch off operations, outbox and with it inbox, in this process and all it forks."""
    for module in (coupons, goods, steps, users):
        vars(module)["claim"] = lambda *_, **__: _Unclaimed()
    Transaction.emit = lambda *_: None  # type: ignore[method-assign]  # the point of it all


@contextmanager
def unsafe_ground(folder: Path) -> Iterator[Ground | None]:
    """Run a lab without safety for a block; None where processes are not forked."""
    if not spawn.FORKS:
        yield None
        return
    home = Home(folder).make()
    embedded = launch.EMBEDDED.stack
    spec = json.dumps(
        {"home": str(folder), "instances": {}, "stack": embedded, "dies_with_stdin": True}
    )
    ours, stdin = os.pipe()
    with (home.logs / "supervisor.log").open("ab") as log:
        command = [sys.executable, "-P", "-m", "bench.unsafe", spec]
        process = subprocess.Popen(
            command, stdin=ours, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _await_up(home)
        yield Ground(home)
    finally:
        launch.down(home)
        os.close(stdin)
        process.wait()


def _await_up(home: Home) -> None:
    if not poll_until(lambda: home.state().get("phase") == "up", _UP_SECONDS):
        raise RuntimeError(f"the lab without safety did not come up: see {home.logs}")


if __name__ == "__main__":
    take_out_safety()
    program.main()
