"""Commands that look: tables, invariants, what is in flight, what is stuck, logs."""

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
    print_json,
    print_table,
    reading,
    running,
    say,
    seconds,
    working,
)
from labkit.home import Home
from labkit.lab.display.columns import SHOWN_COLUMNS
from labkit.ops import in_flight
from labkit.ops.reader import HOMES_OF
from labkit.runtime.clock import wall_ms_of

_NAMES = ", ".join(HOMES_OF)


@app.command()
def tables(
    names: Annotated[list[str] | None, typer.Argument(help=f"Which: {_NAMES}.")] = None,
    home: HomeOption = DEFAULT_HOME,
    order: Annotated[int | None, typer.Option(help="Only the rows of this order.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All columns.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows of a table at once.")] = PAGE,
    page: Annotated[int, typer.Option(min=1, help="Which so many, from 1.")] = 1,
    last: Annotated[bool, typer.Option("--last", help="The last page.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show tables as they are in the databases now, a page of each. JSON has all rows.

    Example: `labkit tables trade_order trade_operation --last`
    """
    reader = reading(home)
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
            say(
                f"rows {begin + 1:,} to {begin + len(rows):,} of {total:,}, page "
                f"{begin // limit + 1} of {pages}: --page, --last, --limit"
            )
    return None


@app.command()
def check(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Check every invariant on the data as it is. Exit code 1 when one is broken.

    Example: `labkit check`
    """
    from labkit.ops.invariants import (
        check as invariants,  # what they know of the shop takes long to load
    )

    found = invariants.check(reading(home))
    if as_json:
        print_json(found)
    else:
        says = {invariant.name: invariant.summary for invariant in invariants.INVARIANTS}
        print_table(
            "invariants",
            [
                {
                    "invariant": one["name"],
                    "held": "yes" if one["held"] else "NO",
                    "rows": one["looked_at"],
                    "what must be true": says[one["name"]],
                }
                for one in found
            ],
        )
        for one in found:
            for breach in one["broken"]:
                say(f"{one['name']} is broken by {breach}", "bold")
    raise typer.Exit(not all(one["held"] for one in found))


@app.command()
def settle(
    home: HomeOption = DEFAULT_HOME,
    timeout: Annotated[float, typer.Option(parser=seconds, help="Seconds to wait.")] = 30.0,
) -> None:
    """Wait until nothing is in flight. Exit code 1, and what still is, when time is over.

    Example: `labkit settle --timeout 60`
    """
    began = time.monotonic()
    with working("settling") as tell:
        left = in_flight.settle(reading(home), timeout, lambda n: tell(f"{n} in flight"))
    if left:
        print_table(f"still in flight after {timeout} s", left[:PAGE])
        if len(left) > PAGE:
            say(f"{PAGE} of {len(left):,} that are in flight")
        raise typer.Exit(1)
    say(f"settled after {time.monotonic() - began:.1f} s: nothing is in flight")


@app.command()
def stuck(
    home: HomeOption = DEFAULT_HOME,
    limit: Annotated[int, typer.Option(min=1, help="Things at once.")] = PAGE,
    page: Annotated[int, typer.Option(min=1, help="Which so many, from 1.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """List what waits or failed, with its cause, tries and next try, a page of it.

    Example: `labkit stuck`
    """
    found = in_flight.stuck(reading(home))
    if as_json:
        return print_json(found)
    if not found:
        return say("nothing is stuck")
    now_ms = wall_ms_of(Home(home))
    shown = found[(page - 1) * limit : page * limit]
    rows = [{**one, "next_try": _in_seconds(one["next_try"], now_ms)} for one in shown]
    print_table("stuck", rows, ("id", "what", "order", "cause", "tries", "next_try"))
    if len(shown) < len(found):
        say(f"page {page}: {len(shown):,} of {len(found):,} things that are stuck: --page, --limit")
    return say("by hand: labkit retry ID, labkit give-up ID, labkit take-back ID")


@app.command()
def retry(
    id: Annotated[str, typer.Argument(help="As `labkit stuck` lists it.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Drive one stuck thing by hand, now. Exit code 1 when it fails again.

    Example: `labkit retry goods.383026413512351744`
    """
    _drive(home, "retry", id)


@app.command()
def give_up(
    id: Annotated[str, typer.Argument(help="As `labkit stuck` lists it.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Give one stuck thing up: it becomes a dead letter, with its cause, and is tried no more.

    Example: `labkit give-up goods.383026413512351744`
    """
    _drive(home, "give_up", id)


@app.command()
def take_back(
    id: Annotated[str, typer.Argument(help="As `labkit stuck` lists it.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Take one dead letter back: it is tried again by itself, with all its tries before it.

    Example: `labkit take-back goods.383026413512351744`
    """
    _drive(home, "take_back", id)


@app.command()
def logs(
    process: Annotated[str | None, typer.Argument(help="As goods-1; all if not said.")] = None,
    home: HomeOption = DEFAULT_HOME,
    lines: Annotated[int, typer.Option(min=1, help="How many of the last lines.")] = 20,
) -> None:
    """Show the last lines of the processes' logs.

    Example: `labkit logs order-1 --lines 50`
    """
    files = sorted(Home(home).logs.glob("*.log"))
    names = [file.stem for file in files]
    wanted = [file for file in files if process in (None, file.stem, file.stem.rpartition("-")[0])]
    if not wanted:
        known = ", ".join(names) or "none"
        raise ValueError(f"there is no log of {process or 'anything'}; there are: {known}")
    for file in wanted:
        say(file.stem, "bold")
        text = file.read_text(errors="replace").splitlines()[-lines:]
        say("\n".join(text) or "(nothing)")


def _drive(home: Path, verb: str, id: str) -> None:
    from labkit.ops import drive  # it makes calls, which takes long to load

    result = asyncio.run(drive.drive(running(home), drive.ManualAction(verb), id))
    if not result.success:
        raise ValueError(f"{result.message}; see: labkit stuck")
    say(result.message)


def _in_seconds(next_try: int | None, now_ms: int) -> str | None:
    """A stored time, for people."""
    return None if next_try is None else f"in {max(0, next_try - now_ms) / 1000:.0f} s"
