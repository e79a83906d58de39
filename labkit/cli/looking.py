"""Commands that look at a lab, and drive stuck items: tables, invariants, in flight, logs."""

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer

from labkit.cli.base import (
    DEFAULT_HOME,
    PAGE,
    HomeOption,
    JsonOption,
    app,
    echo,
    open_reader,
    print_json,
    print_table,
    running_home,
    seconds,
    show_progress,
)
from labkit.home import Home
from labkit.lab.display.columns import SHOWN_COLUMNS
from labkit.ops import in_flight
from labkit.ops.reader import HOMES_OF
from labkit.runtime.clock import wall_ms_of

_NAMES = ", ".join(HOMES_OF)


@app.command()
def tables(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"Names of tables. Defaults to all: {_NAMES}.")
    ] = None,
    folder: HomeOption = DEFAULT_HOME,
    order: Annotated[int | None, typer.Option(help="Show only the rows of this order.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show all columns.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows of a table on a page.")] = PAGE,
    page: Annotated[int, typer.Option(min=1, help="Number of the page, from 1.")] = 1,
    last: Annotated[bool, typer.Option("--last", help="Show the last page.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show tables as they are in the databases now, a page of each. JSON has all rows.

    Example: `labkit tables trade_order trade_operation --last`
    """
    reader = open_reader(folder)
    try:
        totals = {name: reader.count(name, order) for name in names or HOMES_OF}
    except KeyError as error:
        raise ValueError(error.args[0]) from None
    if as_json:
        return print_json(
            {name: reader.page(name, total, 0, order) for name, total in totals.items()}
        )
    for name, total in totals.items():
        pages = max(1, -(-total // limit))
        begin = ((pages if last else page) - 1) * limit
        rows = reader.page(name, limit, begin, order)
        print_table(name, rows, () if everything else SHOWN_COLUMNS[name])
        if len(rows) < total:
            echo(
                f"rows {begin + 1:,} to {begin + len(rows):,} of {total:,}, page "
                f"{begin // limit + 1} of {pages}: --page, --last, --limit"
            )
    return None


@app.command()
def check(folder: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Check every invariant on the data as it is. Exit code 1 when one is broken.

    Example: `labkit check`
    """
    from labkit.ops.invariants import (
        check as invariants,  # what they know of the shop takes long to load
    )

    findings = invariants.check(open_reader(folder))
    if as_json:
        print_json(findings)
    else:
        sentences = {invariant.name: invariant.summary for invariant in invariants.INVARIANTS}
        print_table(
            "invariants",
            [
                {
                    "invariant": finding["name"],
                    "held": "yes" if finding["held"] else "NO",
                    "rows": finding["looked_at"],
                    "what must be true": sentences[finding["name"]],
                }
                for finding in findings
            ],
        )
        for finding in findings:
            for breach in finding["broken"]:
                echo(f"{finding['name']} is broken by {breach}", "bold")
    raise typer.Exit(not all(finding["held"] for finding in findings))


@app.command()
def settle(
    folder: HomeOption = DEFAULT_HOME,
    timeout: Annotated[float, typer.Option(parser=seconds, help="Seconds to wait.")] = 30.0,
) -> None:
    """Wait until nothing is in flight. At the timeout, list what still is, with exit code 1.

    Example: `labkit settle --timeout 60`
    """
    began = time.monotonic()
    with show_progress("settling") as on_progress:
        unsettled = in_flight.settle(
            open_reader(folder), timeout, lambda number: on_progress(f"{number} in flight")
        )
    if unsettled:
        print_table(f"still in flight after {timeout} s", unsettled[:PAGE])
        if len(unsettled) > PAGE:
            echo(f"{PAGE} of {len(unsettled):,} that are in flight")
        raise typer.Exit(1)
    echo(f"settled after {time.monotonic() - began:.1f} s: nothing is in flight")


@app.command()
def stuck(
    folder: HomeOption = DEFAULT_HOME,
    limit: Annotated[int, typer.Option(min=1, help="Items on a page.")] = PAGE,
    page: Annotated[int, typer.Option(min=1, help="Number of the page, from 1.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """List the items that wait or failed, with cause, tries and next try, a page of them.

    Example: `labkit stuck`
    """
    items = in_flight.stuck(open_reader(folder))
    if as_json:
        return print_json(items)
    if not items:
        return echo("nothing is stuck")
    now_ms = wall_ms_of(Home(folder))
    shown = items[(page - 1) * limit : page * limit]
    rows = [{**item, "next_try": _in_seconds(item["next_try"], now_ms)} for item in shown]
    print_table("stuck", rows, ("id", "what", "order", "cause", "tries", "next_try"))
    if len(shown) < len(items):
        echo(
            f"page {page}: {len(shown):,} of {len(items):,} things that are stuck: --page, --limit"
        )
    return echo("by hand: labkit retry ID, labkit give-up ID, labkit take-back ID")


@app.command()
def retry(
    id: Annotated[str, typer.Argument(help="Id from `labkit stuck`.")],
    folder: HomeOption = DEFAULT_HOME,
) -> None:
    """Retry one stuck item now. Exit code 1 when it fails again.

    Example: `labkit retry goods.383026413512351744`
    """
    _drive(folder, "retry", id)


@app.command()
def give_up(
    id: Annotated[str, typer.Argument(help="Id from `labkit stuck`.")],
    folder: HomeOption = DEFAULT_HOME,
) -> None:
    """Give one stuck item up: it becomes a dead letter, with its cause, and is tried no more.

    Example: `labkit give-up goods.383026413512351744`
    """
    _drive(folder, "give_up", id)


@app.command()
def take_back(
    id: Annotated[str, typer.Argument(help="Id from `labkit stuck`.")],
    folder: HomeOption = DEFAULT_HOME,
) -> None:
    """Take one dead letter back: it is tried again by itself, with a fresh count of tries.

    Example: `labkit take-back goods.383026413512351744`
    """
    _drive(folder, "take_back", id)


@app.command()
def logs(
    process: Annotated[
        str | None, typer.Argument(help="Process such as goods-1. Defaults to all.")
    ] = None,
    folder: HomeOption = DEFAULT_HOME,
    lines: Annotated[int, typer.Option(min=1, help="Number of lines, the last ones.")] = 20,
) -> None:
    """Show the last lines of the processes' logs.

    Example: `labkit logs order-1 --lines 50`
    """
    files = sorted(Home(folder).logs.glob("*.log"))
    names = [file.stem for file in files]
    wanted = [file for file in files if process in (None, file.stem, file.stem.rpartition("-")[0])]
    if not wanted:
        listing = ", ".join(names) or "none"
        raise ValueError(f"there is no log of {process or 'anything'}; there are: {listing}")
    for file in wanted:
        echo(file.stem, "bold")
        text = file.read_text(errors="replace").splitlines()[-lines:]
        echo("\n".join(text) or "(nothing)")


def _drive(folder: Path, verb: str, id: str) -> None:
    from labkit.ops import drive  # it makes calls, which takes long to load

    result = asyncio.run(drive.drive(running_home(folder), drive.ManualAction(verb), id))
    if not result.success:
        raise ValueError(f"{result.message}; see: labkit stuck")
    echo(result.message)


def _in_seconds(next_try: int | None, now_ms: int) -> str | None:
    """Show a stored time as seconds from now."""
    return None if next_try is None else f"in {max(0, next_try - now_ms) / 1000:.0f} s"
