"""The command that searches for an order of events that breaks the shop."""

import json
from typing import Annotated

import typer

from labkit.cli.base import app, echo, number_between
from labkit.stack.releases import beside

_seconds = number_between(0.1, 86_400)


@app.command()
def sim(
    seconds: Annotated[
        float, typer.Option(parser=_seconds, help="Seconds to search for.", metavar="NUMBER")
    ] = 60.0,
    lives: Annotated[int | None, typer.Option(min=1, help="Number of lives, at most.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first life.")] = 0,
    story: Annotated[
        list[str] | None, typer.Option(help="Story of a customer; by default all are drawn from.")
    ] = None,
    prove: Annotated[
        int | None,
        typer.Option(min=0, max=4, help="Live every life of the stories with so many deviations."),
    ] = None,
    action: Annotated[
        list[str] | None,
        typer.Option(
            help="What may happen in a life of --prove, as crash or delay:1.5; by default anything."
        ),
    ] = None,
    token: Annotated[
        str | None, typer.Option("--replay", help="Token of a life to live again.")
    ] = None,
    releases: Annotated[
        str | None,
        typer.Option(help="Two releases that follow each other, as 1.0,1.1: lives mix them."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Search for an order of events that breaks the shop, in one process and in virtual time.

    Each life draws customers and their stories, and what fails or is late at the failpoints; then
    all settles, and every invariant is checked. A life that breaks something is made as small as
    it can be, and named by a token. Exit code 1 when a life breaks something.

    With `--releases` some services run the earlier release and some the later one, as far as a
    deployment has come, and one of them both.

    Example: `labkit sim --seconds 10 --seed 7`, `labkit sim --releases 1.0,1.1`
    """
    if releases and not beside.is_there():
        raise typer.Exit(beside.run_again(releases))
    from labkit.sim import report, search
    from labkit.sim.plan import Plan, read_token
    from labkit.sim.stories import STORIES, check_names

    names = check_names(story or list(STORIES))
    if token is not None:
        plan = read_token(token)
        outcome = report.replayed(plan, search.replay(plan, record=True))
    elif prove is not None:
        outcome = report.proven(search.prove(Plan(names), prove, action or ()), prove)
    else:
        outcome = report.searched(search.hunt(seconds, seed, names, lives=lives), seed)
    if as_json:
        typer.echo(json.dumps(outcome.as_json(), ensure_ascii=False))
    else:
        for line in outcome.lines:
            echo(line)
    raise typer.Exit(outcome.is_broken)
