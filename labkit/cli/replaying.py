"""Replaying real purchases, as the command line shows it: a bar, answers, latency, the check."""

from collections import Counter
from itertools import islice

import uvloop
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench import history, purchases
from bench.load import Answer, outcome, percentile
from bench.purchases import Purchase
from bench.replay import histogram, send
from labkit.cli.base import console, echo, print_table, show_progress
from labkit.home import Home
from labkit.ops import in_flight
from labkit.ops.invariants import check
from labkit.ops.reader import Reader
from labkit.stack.supervisor import control, launch

_SETTLE_S = 60.0
_MAX_SHOWN = 20


def replay(home: Home, rate: float, limit: int) -> bool:
    """Replay the first purchases on a lab that starts afresh, and show the results.

    Args:
        home: of a lab that is up.
        rate: orders a second.
        limit: the number of purchases.

    Returns:
        True if all answers agree with the tables, and every invariant holds.
    """
    sent = list(islice(purchases.purchases(), limit))
    with show_progress("starting afresh with the customers"):
        control.tell(home, "reset", **purchases.seeds(sent).model_dump())
    answers = _send(home, sent, rate)
    _show(answers)
    return _check(home, sent, answers)


def _show(answers: list[Answer]) -> None:
    outcomes = Counter(map(outcome, answers)).most_common()
    print_table("answers", [{"answer": each, "orders": number} for each, number in outcomes])
    latencies = [1000 * answer.seconds for answer in answers]
    echo("from the time to send to the answer", "bold")
    echo("\n".join(histogram(latencies)))
    echo(f"p50 {percentile(latencies, 50):.1f} ms, p99 {percentile(latencies, 99):.1f} ms")


def _send(home: Home, sent: list[Purchase], rate: float) -> list[Answer]:
    """Send them under a progress bar."""
    url = launch.status(home)["endpoints"]["order-web"]
    answers: list[Answer] = []
    columns = (
        TextColumn("replaying", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("replay", total=len(sent))

        def on_answer(answer: Answer) -> None:
            answers.append(answer)
            progress.advance(bar)

        uvloop.run(send(url, sent, rate, on_answer))
    return answers


def _check(home: Home, sent: list[Purchase], answers: list[Answer]) -> bool:
    """Settle; then compare the answers with the tables, and check the invariants."""
    reader = Reader(home)
    with show_progress("settling"):
        unsettled = in_flight.settle(reader, _SETTLE_S)
    breaches = [f"still in flight: {item['what']}" for item in unsettled]
    breaches += history.breaches(reader.table("trade_order"), sent, answers)
    findings = check.check(reader)
    reader.close()
    breaches += [
        f"{finding['name']} is broken by {breach}"
        for finding in findings
        for breach in finding["broken"]
    ]
    for breach in breaches[:_MAX_SHOWN]:
        echo(breach)
    echo(
        f"{len(answers)} answers and {len(findings)} invariants looked at: {len(breaches)} breaches"
    )
    return not breaches
