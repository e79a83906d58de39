"""Outage counters: how often a process found a server away, counted where it notices.

A fault of a server proves by these that it was reached: it counts what the shop met, and not what
the fault believes to have done.
"""

import logging
from pathlib import Path

from labkit.runtime.injection.counters import Counters

DATABASE, BROKER, REGISTRY, ROW = _KINDS = ("database", "broker", "registry", "row")
_counters: list[Counters] = []  # of this process; none in a tool, which nobody counts


def start(folder: Path, process: str) -> None:
    """Count from now on the outages that this process meets.

    Args:
        folder: the home's folder of faults.
        process: name of the process, as `goods-1`.
    """
    _counters[:] = [_counters_at(_file(folder, process))]


def count(kind: str) -> None:
    """Note that a server could not be reached, did not answer in time, or could not do its work.

    Or that a step did not get a row of a database, because somebody else held it.
    """
    for counter in _counters:
        counter.add(_KINDS.index(kind))


def total(folder: Path, kind: str, service: str = "*") -> int:
    """Add up how often the processes of a home met an outage since the last reset.

    Args:
        folder: the home's folder of faults.
        kind: kind of server: `database`, `broker` or `registry`; or `row`.
        service: counts only the processes of this service.
    """
    files = sorted(folder.glob(f"{service}-[0-9]*.misses"))
    return sum(_counters_at(file).read(_KINDS.index(kind)) for file in files)


def listen_to_the_broker() -> None:
    """Count what only kafka-python's log tells: a connection failed, or timed out."""
    for name in ("kafka.net.connection", "kafka.net.manager"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        logger.addHandler(_BrokerOutages())


class _BrokerOutages(logging.Handler):
    def emit(self, _record: logging.LogRecord) -> None:
        count(BROKER)


def _counters_at(file: Path) -> Counters:
    return Counters(file, len(_KINDS))


def _file(folder: Path, process: str) -> Path:
    return folder / f"{process}.misses"
