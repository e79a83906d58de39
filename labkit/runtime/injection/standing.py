"""Standing faults: something is wrong with a lab for as long as they stand. A failpoint acts once.

A tool outside adds a fault to the home, and removes it again. Each process looks before it does
what a fault may be about. A process that a fault hits adds a byte to a file of that fault, which
the system keeps apart and whole for all processes: so many bytes, so many hits.
"""

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from labkit.runtime.injection.fault_file import FaultFile


class FaultKind(StrEnum):
    """The kinds of standing faults."""

    SLOW = "slow"
    CUT = "cut"
    DUPLICATED = "duplicated"
    REORDERED = "reordered"
    LATE = "late"
    CLOCK_STEPPED = "clock_stepped"


@dataclass(frozen=True)
class StandingFault:
    """One fault that lasts.

    Attributes:
        kind: the kind of fault.
        target: a service, a process (`goods-1`), a topic, or two services with `>` between.
        amount: seconds, for the kinds that have any.
        mode: of a cut: dropped or refused.
        number: tells it from others of its kind.
    """

    kind: FaultKind
    target: str
    amount: float = 0.0
    mode: str = ""
    number: str = ""


class FaultBook:
    """The standing faults of a home, as a tool outside keeps them.

    Args:
        folder: the home's folder of faults.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = _file_in(folder)

    def add(self, fault: StandingFault) -> StandingFault:
        """Make a fault stand until it is removed, and return it with its number."""
        fault = replace(fault, number=fault.number or secrets.token_hex(4))
        with self._file.edit() as faults:
            faults.append(fault)
        return fault

    def remove(self, *removed: StandingFault) -> None:
        """Remove these faults, or all if none is named."""
        with self._file.edit() as faults:
            faults[:] = [fault for fault in faults if removed and fault not in removed]

    def standing(self) -> list[StandingFault]:
        """Return the faults that stand."""
        return self._file.read()

    def hits(self, fault: StandingFault) -> int:
        """Return how often a fault hit, also after it was removed."""
        file = _hits_file(self._folder, fault)
        return file.stat().st_size if file.exists() else 0


class StandingFaults:
    """The standing faults of a home, as a process of the lab looks them up.

    Args:
        folder: the home's folder of faults.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = _file_in(folder).watch()

    def of(self, kind: FaultKind, target: str) -> Sequence[StandingFault]:
        """Return the faults of a kind that have a target: nearly always none."""
        faults = self._file.current()
        return faults and [
            fault for fault in faults if fault.kind == kind and fault.target == target
        ]

    def is_standing(self, fault: StandingFault) -> bool:
        """Return True if a fault was not removed meanwhile."""
        return fault in self.of(fault.kind, fault.target)

    def hit(self, fault: StandingFault, times: int = 1) -> None:
        """Note that a fault hit; what cannot be noted, as on a full disk, is not counted."""
        file = _hits_file(self._folder, fault)
        with suppress(OSError), file.open("ab", buffering=0) as hits:
            hits.write(b"." * times)


def _file_in(folder: Path) -> FaultFile[list[StandingFault]]:
    return FaultFile(
        folder / "rules.json",
        folder / "rules.lock",
        folder / "rules.turn",
        load=lambda rows: [StandingFault(**row) for row in rows or ()],
        dump=lambda faults: [asdict(fault) for fault in faults],
    )


def _hits_file(folder: Path, fault: StandingFault) -> Path:
    return folder / f"{fault.kind}.{fault.number}.met"
