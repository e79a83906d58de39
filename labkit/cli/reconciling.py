"""The command that compares the shop with the payment platform's bill."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from labkit.cli.base import (
    DEFAULT_HOME,
    PAGE,
    HomeOption,
    JsonOption,
    app,
    echo,
    print_json,
    print_table,
    running_home,
    show_progress,
)
from labkit.ops.reader import Reader
from labkit.runtime.clock import LabClock

if TYPE_CHECKING:
    from labkit.ops.reconcile import ReconciledLine


@app.command()
def reconcile(
    folder: HomeOption = DEFAULT_HOME,
    day: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Business day. Defaults to today."),
    ] = None,
    no_repair: Annotated[
        bool, typer.Option("--no-repair", help="Compare only, and repair nothing.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows on a page.")] = PAGE,
    page: Annotated[int, typer.Option(min=1, help="Number of the page, from 1.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Compare a day's bill of the payment platform with the shop (对账), row by row, and repair.

    Shows a page of the rows, those that differ first. JSON has all rows, in the order of their ids.

    Differences with one right answer are repaired: a missed callback, a refund that was not sent.
    Exit code 1 while any other difference is left.

    Example: `labkit reconcile --day 2026-01-05`
    """
    from labkit.ops.reconcile import Reconciler, Repair
    from labkit.shop.pay.bill import Verdict

    home = running_home(folder)
    date = (day or LabClock(home.clock_file).now()).date()
    with show_progress("comparing with the bill"):
        outcomes = Reconciler.of(home, Reader(home)).run(date, repair=not no_repair)
    right = (None, Repair.REPAIRED)
    unresolved = [outcome for outcome in outcomes if outcome.repair not in right]
    if as_json:
        print_json({"day": date.isoformat(), "lines": [_row(outcome) for outcome in outcomes]})
        raise typer.Exit(bool(unresolved))
    outcomes.sort(key=lambda outcome: outcome.line.verdict == Verdict.MATCHED)
    begin = (page - 1) * limit
    shown = outcomes[begin : begin + limit]
    print_table(f"payments and refunds of {date}", [_row(outcome) for outcome in shown])
    for outcome in shown:
        if outcome.repair not in right:
            line = outcome.line
            echo(f"payment {line.pay_id}: {line.verdict}, {outcome.repair}{_because(outcome)}")
    if len(shown) < len(outcomes):
        echo(f"rows {begin + 1:,} to {begin + len(shown):,} of {len(outcomes):,}: --page, --limit")
    echo(f"{len(outcomes)} compared, {len(unresolved)} not right")
    raise typer.Exit(bool(unresolved))


def _row(outcome: "ReconciledLine") -> dict[str, object]:
    line = outcome.line
    return {
        "kind": line.kind,
        "order": line.order_id,
        "payment": line.pay_id,
        "refund": line.refund_id,
        "at the platform": line.there,
        "in the shop": line.here,
        "found": line.verdict,
        "done": outcome.repair,
    }


def _because(outcome: "ReconciledLine") -> str:
    return f": {outcome.why}" if outcome.why else ""
