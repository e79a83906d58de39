"""How often a process found a server away: counted where it is noticed.

A fault of a server proves by these that it was reached: it counts what the shop met, and not what
the fault believes to have done.
"""

import logging
from pathlib import Path

from labkit.runtime.injection.counters import Counters

DATABASE, BROKER, REGISTRY, ROW = _KINDS = ("database", "broker", "registry", "row")
_counters: list[Counters] = []  # of this process; none in a tool, which nobody counts


def start(folder: Path, process: str) -> None:
    """Count from now on what this process misses.

    Args:
        folder: the home's folder of faults.
        process: its name, as `goods-1`.
    """
    _counters[:] = [_counters_at(_file(folder, process))]


def count(kind: str) -> None:
    """Note that a server could not be reached, did not answer in time, or could not do its work.

    Or that a step did not get a row of a database, because somebody else held it.
    """
    for counter in _counters:
        counter.add(_KINDS.index(kind))


def total(folder: Path, kind: str, service: str = "*") -> int:
    """How often the processes of a home missed a server since the last reset.

    Args:
        folder: the home's folder of faults.
        kind: of server: `database`, `broker` or `registry`.
        service: only its processes; all if not said.
    """
    files = sorted(folder.glob(f"{service}-[0-9]*.misses"))
    return sum(_counters_at(file).read(_KINDS.index(kind)) for file in files)


def listen_to_the_broker() -> None:
    """Hear from kafka-python's log what nothing else tells: a connection failed, or timed out."""
    for name in ("kafka.net.connection", "kafka.net.manager"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        logger.addHandler(_BrokerMisses())


class _BrokerMisses(logging.Handler):
    def emit(self, _record: logging.LogRecord) -> None:
        count(BROKER)


def _counters_at(file: Path) -> Counters:
    return Counters(file, len(_KINDS))


def _file(folder: Path, process: str) -> Path:
    return folder / f"{process}.misses"
