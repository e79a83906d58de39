"""Commands that put load on a lab: replay real purchases, and measure."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from labkit.cli.base import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    app,
    echo,
    number_between,
    print_json,
    print_table,
    running_home,
    show_progress,
)
from labkit.stack.setup.backends import Stack

_PROFILED = (1, 64)  # clients


@app.command()
def replay(
    folder: HomeOption = DEFAULT_HOME,
    rate: Annotated[
        float, typer.Option(parser=number_between(0.1, 10_000), help="Orders a second.")
    ] = 100.0,
    limit: Annotated[int, typer.Option(min=1, help="Number of purchases, from the first.")] = 1000,
) -> None:
    """Replay real purchases of a music shop as orders, and check the history at the end.

    The lab starts afresh with the customers of that shop; what was in it is gone. Exit code 1 when
    an answer does not go with the tables, or an invariant is broken.

    Example: `labkit replay --rate 200 --limit 2000`
    """
    from labkit.cli import replaying

    raise typer.Exit(not replaying.replay(running_home(folder), rate, limit))


@app.command()
def bench(
    folder: HomeOption = DEFAULT_HOME,
    stack: Annotated[Stack, typer.Option(help="Stack to measure.")] = Stack.embedded,
    quick: Annotated[
        bool, typer.Option("--quick", help="Measure for a minute only, and less exactly.")
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Show where an order spends its time instead.")
    ] = False,
    write: Annotated[
        Path | None, typer.Option(help="Page to rewrite, with a chart beside it.")
    ] = None,
    history: Annotated[
        Path, typer.Option(help="File that keeps all runs, and is compared with.")
    ] = Path("bench.jsonl"),
    as_json: JsonOption = False,
) -> None:
    """Measure orders a second, latency, memory, recovery and what safety costs, beside the floor.

    It runs in new homes below the home's folder, on containers of its own where `--stack
    containers` asks for them, and leaves nothing behind. Nothing else should run on the machine
    meanwhile.

    With `--profile` it places orders with one client and with 64, on the embedded stack, and shows
    when each call and each step of an order began and how long it took, in the middle of all.

    Example: `labkit bench --quick`, `labkit bench --profile`
    """
    from bench import measures, on_containers, page, past_runs

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if profile:
        if quick or as_json or write or stack is not Stack.embedded:
            raise ValueError("--profile goes alone: it shows the embedded stack, on the screen")
        _show_time_lines(folder)
        return
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=folder) as bench_folder,
        show_progress("measuring") as on_progress,
    ):
        pace = measures.QUICK if quick else measures.FULL
        kind = on_containers.Bench if stack is Stack.containers else measures.Bench
        measure = kind(Path(bench_folder).absolute(), pace, on_progress)
        figures = list(measure.run())
    name = f"{stack}, quick" if quick else str(stack)
    before = past_runs.last_values(history, name)
    if as_json:
        print_json([figure.as_json() for figure in figures])
    else:
        print_table("figures", [figure.as_row(before) for figure in figures])
        for what, times in measure.failures().items():
            echo(f"{times} × {what}")
    if write:
        page.renew(write, figures)
    past_runs.keep(history, name, figures)


def _show_time_lines(folder: Path) -> None:
    from bench import time_line

    with tempfile.TemporaryDirectory(prefix="bench-", dir=folder) as bench_folder:
        for line in time_line.measure(Path(bench_folder).absolute() / "lab", _PROFILED):
            title = f"{line.clients} clients, {line.rate:.0f} orders/s, {line.orders} traced"
            print_table(title, time_line.as_rows(line))
