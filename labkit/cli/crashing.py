"""The command that runs the crash matrix."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from labkit.cli.base import DEFAULT_HOME, HomeOption, app, console, echo, show_progress
from labkit.stack.releases import beside


@app.command()
def matrix(
    folder: HomeOption = DEFAULT_HOME,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the order, the sample and the pairs.")
    ] = None,
    labs: Annotated[
        int | None, typer.Option(min=1, max=64, help="Number of labs that run side by side.")
    ] = None,
    action: Annotated[
        str, typer.Option(help="Action: crash, delay:SECONDS, stall:SECONDS, refuse or duplicate.")
    ] = "crash",
    only: Annotated[
        list[str] | None, typer.Option(help="Patterns such as 'paid*' or 'paid:pay.*'.")
    ] = None,
    cell: Annotated[
        list[str] | None,
        typer.Option(help="SCENARIO:FAILPOINT, or two failpoints with a + between."),
    ] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="Number of cells to draw.")] = None,
    pairs: Annotated[
        int | None, typer.Option(min=1, help="Number of cells that crash twice.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option("--replay", help="Token of a life of `labkit sim` to play on a real lab."),
    ] = None,
    releases: Annotated[
        str | None,
        typer.Option(help="Two releases that follow each other, as 1.0,1.1: each lab mixes them."),
    ] = None,
    write: Annotated[
        Path | None, typer.Option("--json", help="File for the whole report as JSON.")
    ] = None,
) -> None:
    """Play every scenario with a crash at every failpoint that it reaches, and check everything.

    In each cell the process is killed exactly there and started again, all settles, and every
    invariant is checked. It runs in new homes below the home's folder and leaves nothing behind.
    Exit code 1 when a cell is broken, or a failpoint is reached by no scenario.

    With `--releases` the first services of a deployment run the later release in each lab, and the
    others the earlier one: how many, differs from lab to lab, from the seed on.

    With `--replay` a real lab is made to live one life of `labkit sim` instead. Exit code 1 when
    it breaks something, 3 when nothing breaks and something of that life did not happen.

    Example: `labkit matrix --only 'paid*' --seed 7`
    """
    if releases and not beside.is_there():
        raise typer.Exit(beside.run_again(releases))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if token is not None:
        if only or cell or {seed, labs, sample, pairs} != {None} or action != "crash":
            raise ValueError("write: labkit matrix --replay TOKEN, with --home and --json at most")
        raise typer.Exit(_replay(token, folder, write))
    from labkit.cli.matrix_grid import grid
    from labkit.matrix.cells import CellResult, CellVerdict
    from labkit.matrix.running import run

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        bar = bars.add_task("labs come up", total=None)

        def show_cell(task: str, done: int, total: int, result: CellResult | None) -> None:
            bars.update(bar, description=task, completed=done, total=total)
            if result and result.verdict == CellVerdict.BROKEN:
                echo(f"BROKEN {result.cell.name}: {result.why}")

        report = run(
            seed=seed,
            labs=labs,
            action=action,
            only=only or (),
            sample=sample,
            pairs=pairs,
            cells=cell or (),
            folder=folder.absolute(),
            on_progress=show_cell,
        )
    for line in grid(report.results):
        console.print(line, soft_wrap=True)
    _write(write, report.as_json())
    for text in report.summary():
        echo(text)
    raise typer.Exit(report.failed)


def _replay(token: str, folder: Path, write: Path | None) -> int:
    """Play a life of the twin on a real lab, show what came of it, and return the exit code."""
    from labkit.matrix.replaying import replay

    with show_progress("replaying") as on_progress:
        report = replay(token, folder.absolute(), on_progress)
    _write(write, report.as_json())
    for text in report.lines():
        echo(text)
    return report.exit_code


def _write(file: Path | None, report: Mapping[str, object]) -> None:
    if file:
        file.write_text(json.dumps(report, ensure_ascii=False, indent=1))
