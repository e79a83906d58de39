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
    print_json,
    print_table,
    running,
    say,
    working,
)
from labkit.ops.reader import Reader
from labkit.runtime.clock import LabClock

if TYPE_CHECKING:
    from labkit.ops.reconcile import ReconciledLine


@app.command()
def reconcile(
    home: HomeOption = DEFAULT_HOME,
    day: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="A business day; today if not said."),
    ] = None,
    no_repair: Annotated[bool, typer.Option("--no-repair", help="Only look.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows at once.")] = PAGE,
    page: Annotated[int, typer.Option(min=1, help="Which so many, from 1.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Compare a day's bill of the payment platform with the shop (对账), row by row, and repair.

    Shows a page of the rows, those that differ first. JSON has all rows, by their birth.

    What has one right answer is repaired: a missed callback, a refund that was not sent. Exit
    code 1 while anything is left that is not right.

    Example: `labkit reconcile --day 2026-01-05`
    """
    from labkit.ops.reconcile import REPAIRED, Reconciler
    from labkit.shop.pay.bill import Verdict

    place = running(home)
    of = (day or LabClock(place.clock_file).now()).date()
    with working("comparing with the bill"):
        found = Reconciler(place, Reader(place)).run(of, repair=not no_repair)
    right = ("", REPAIRED)
    left = [outcome for outcome in found if outcome.done not in right]
    if as_json:
        print_json({"day": of.isoformat(), "lines": [_row(outcome) for outcome in found]})
        raise typer.Exit(bool(left))
    found.sort(key=lambda outcome: outcome.line.verdict == Verdict.MATCHED)
    begin = (page - 1) * limit
    shown = found[begin : begin + limit]
    print_table(f"payments and refunds of {of}", [_row(outcome) for outcome in shown])
    for outcome in shown:
        if outcome.done not in right:
            line = outcome.line
            say(f"payment {line.pay_id}: {line.verdict}, {outcome.done}{_because(outcome)}")
    if len(shown) < len(found):
        say(f"rows {begin + 1:,} to {begin + len(shown):,} of {len(found):,}: --page, --limit")
    say(f"{len(found)} compared, {len(left)} not right")
    raise typer.Exit(bool(left))


def _row(one: "ReconciledLine") -> dict[str, object]:
    line = one.line
    return {
        "kind": line.kind,
        "order": line.order_id,
        "payment": line.pay_id,
        "refund": line.refund_id,
        "at the platform": line.there,
        "in the shop": line.here,
        "found": line.verdict,
        "done": one.done or None,
    }


def _because(one: "ReconciledLine") -> str:
    return f": {one.why}" if one.why else ""
