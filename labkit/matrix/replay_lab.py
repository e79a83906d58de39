"""The lab of a replay: it begins as each life of the twin does, and takes its time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labkit.home import Home
from labkit.matrix.labs import RunnerLab
from labkit.ops.history import History
from labkit.ops.reader import DATABASES
from labkit.runtime.clock import as_time, wall_ms
from labkit.runtime.db.engines import open_engine
from labkit.settings import Settings
from labkit.shop.wiring import SERVICES
from labkit.sim.first_rows import rows_at
from labkit.sim.world import SETTINGS
from labkit.stack.setup.backends import Backends, Stack
from labkit.stack.setup.seeds import files, fill

#: By how much times and delays are longer than in the twin, where a call takes a millisecond and a
#: process that died is back in 0.2 s: so they are long beside what these take on a busy machine.
PACE = 3.0
#: Settings that are no seconds of a process.
_NO_TIMES = ("tracing", "unpaid_order_ttl")


def prepare_home(folder: Path) -> Home:
    """Make the home of a lab with the first data of the twin, which records what clients are told.

    Args:
        folder: of the home.
    """
    home = Home(folder).make()
    rows = rows_at(as_time(wall_ms()))
    urls = files(home.databases)
    for service, tables in DATABASES.items():
        engine = open_engine(urls[service])
        with engine.begin() as connection:
            fill(connection, tables, rows)
        engine.dispose()
    History(home).start()
    return home


@contextmanager
def running_lab(home: Home, number: int) -> Iterator[RunnerLab]:
    """Run a lab with the twin's times for a block.

    Args:
        home: of the lab.
        number: of processes of each service; of a web there is one.
    """
    instances = {name: number for name, wired in SERVICES.items() if wired.contract}
    lab = RunnerLab(home, Backends(Stack.embedded, servers=_environment()), instances)
    try:
        yield lab
    finally:
        lab.down()


def _environment() -> dict[str, str]:
    """Return the twin's settings as a lab takes them, its times longer."""
    environment = {}
    for name, field in Settings.model_fields.items():
        value = getattr(SETTINGS, name)
        if isinstance(field.default, float) and name not in _NO_TIMES:
            value *= PACE
        if not isinstance(value, str):
            environment[f"LABKIT_{name.upper()}"] = str(value)
    return environment
