"""Replaying real purchases, as the command line shows it: a bar, answers, latency, the check."""

from collections import Counter
from itertools import islice

import uvloop
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench import history, purchases
from bench.load import Answer, outcome, percentile
from bench.purchases import Purchase
from bench.replay import histogram, send
from labkit.cli.base import console, print_table, say, working
from labkit.home import Home
from labkit.ops import in_flight
from labkit.ops.invariants import check
from labkit.ops.reader import Reader
from labkit.stack.supervisor import control, launch

_SETTLE_SECONDS = 60.0
_SHOWN = 20


def replay(place: Home, rate: float, limit: int) -> bool:
    """Replay the first purchases on a lab that starts afresh, and show what came of it.

    Args:
        place: where the lab is up.
        rate: orders a second.
        limit: how many purchases.

    Returns:
        Whether all answers go with the tables, and every invariant holds.
    """
    sent = list(islice(purchases.purchases(), limit))
    with working("starting afresh with the customers"):
        control.tell(place, "reset", **purchases.seeds(sent).model_dump())
    answers = _send(place, sent, rate)
    _show(answers)
    return _check(place, sent, answers)


def _show(answers: list[Answer]) -> None:
    outcomes = Counter(map(outcome, answers)).most_common()
    print_table("answers", [{"answer": each, "orders": number} for each, number in outcomes])
    took = [1000 * answer.seconds for answer in answers]
    say("from the time to send to the answer", "bold")
    say("\n".join(histogram(took)))
    say(f"p50 {percentile(took, 50):.1f} ms, p99 {percentile(took, 99):.1f} ms")


def _send(place: Home, sent: list[Purchase], rate: float) -> list[Answer]:
    """Send them under a progress bar."""
    url = launch.status(place)["endpoints"]["order-web"]
    answers: list[Answer] = []
    columns = (
        TextColumn("replaying", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("replay", total=len(sent))

        def told(answer: Answer) -> None:
            answers.append(answer)
            progress.advance(bar)

        uvloop.run(send(url, sent, rate, told))
    return answers


def _check(place: Home, sent: list[Purchase], answers: list[Answer]) -> bool:
    """Settle; then compare the answers with the tables, and look at the invariants."""
    reader = Reader(place)
    with working("settling"):
        left = in_flight.settle(reader, _SETTLE_SECONDS)
    found = [f"still in flight: {one['what']}" for one in left]
    found += history.breaches(reader.table("trade_order"), sent, answers)
    held = check.check(reader)
    reader.close()
    found += [f"{one['name']} is broken by {breach}" for one in held for breach in one["broken"]]
    for breach in found[:_SHOWN]:
        say(breach)
    say(f"{len(answers)} answers and {len(held)} invariants looked at: {len(found)} breaches")
    return not found
