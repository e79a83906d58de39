"""Compare the twin with real labs: every scenario of the matrix that it plays, with drawn crashes.

`python -m tests.support.parity [--seed N] [--crashes N] [SCENARIO…]`
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from labkit.matrix.labs import map_unordered
from tests.support.parity.comparing import Comparison, compare, crashes_of
from tests.support.parity.lab_play import LabStage, lab_stage
from tests.support.parity.scope import PLAYED
from tests.support.parity.twin_play import TwinStage

_LABS = 2


def main(arguments: list[str]) -> int:
    """Compare, say what came of each comparison, and return 1 where one differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.parity")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="by default all")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--crashes", type=int, default=5, help="of each scenario; 0: all")
    options = parser.parse_args(arguments)
    if unknown := {*options.scenarios} - {*PLAYED}:
        parser.error(f"{', '.join(sorted(unknown))}: not played; there are {', '.join(PLAYED)}")
    twin = TwinStage()
    pairs = list(_draw(twin, options.scenarios or PLAYED, options.crashes, options.seed))
    print(f"seed {options.seed}: {len(pairs)} comparisons", flush=True)
    different = [result for result in _compare_all(twin, pairs) if result.difference]
    print(f"{len(pairs) - len(different)} of {len(pairs)} agree")
    return bool(different)


def _draw(
    twin: TwinStage, scenarios: list[str], number: int, seed: int
) -> Iterator[tuple[str, str]]:
    """Yield scenarios, each with some of the crashes that it can have."""
    for scenario in scenarios:
        crashes = crashes_of(twin, scenario)
        draw = random.Random(f"{seed} {scenario}")
        for crash in draw.sample(crashes, min(number or len(crashes), len(crashes))):
            yield scenario, crash


def _compare_all(twin: TwinStage, pairs: list[tuple[str, str]]) -> Iterator[Comparison]:
    """Compare on several labs side by side, and print each result."""

    def work(lab: LabStage, pair: tuple[str, str]) -> Comparison:
        return compare(lab, twin, *pair)

    with tempfile.TemporaryDirectory(prefix="parity-") as folder, ExitStack() as stack:
        labs = [
            stack.enter_context(lab_stage(Path(folder) / f"lab-{number}"))
            for number in range(1, _LABS + 1)
        ]
        for number, result in enumerate(map_unordered(labs, work, pairs), 1):
            print(f"{number}/{len(pairs)} {result}", flush=True)
            yield result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
