"""Every command of `labkit` with arguments, and how it says that something is wrong."""

from tests.support.db import Done

#: Command → what it is told.
WORDS: dict[str, tuple[str, ...]] = {
    "up": ("--stack", "embedded"),
    "status": (),
    "tables": ("trade_goods",),
    "check": (),
    "settle": ("--timeout", "1"),
    "stuck": (),
    "retry": ("goods.17",),
    "give-up": ("goods.17",),
    "take-back": ("goods.17",),
    "logs": ("--lines", "1"),
    "order": (),
    "pay": ("17",),
    "reconcile": (),
    "failpoints": (),
    "fault": ("--clear",),
    "break": ("paused", "goods", "--for", "0"),
    "lose-broker": (),
    "scale": ("goods=1",),
    "reset": (),
    "replay": ("--limit", "1"),
    "init": (),
    "serve": ("order",),
    "bench": ("--quick",),
    "matrix": ("--cell", "placed:order.save_pre_order.before_commit"),
    "sim": ("--lives", "1"),
    "tour": (),
    "upgrade": ("--to", "1.1"),
    "down": (),
}
#: A command says no more lines than this of what is wrong.
LINES = 3


def must_be_told(done: Done, *, fails: bool) -> None:
    """A line or two, no traceback, and an exit code that is true."""
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    assert "a fault of labkit's own" not in done.stderr, done.stderr
    assert done.stderr.count("\n") <= LINES, done.stderr
    assert (done.returncode != 0) == fails, done
    assert not fails or done.returncode == 1, done
    assert not fails or done.stdout or done.stderr.startswith("labkit: "), done
