"""Replaying real purchases as orders at a steady rate, and checking the history afterwards."""

from collections.abc import Callable, Sequence

from bench.load import Answer, drive, order_request
from bench.purchases import Purchase

_CLIENTS_A_SECOND, _MOST_CLIENTS = 2, 256
_BAR = 40


async def send(
    url: str, sent: Sequence[Purchase], rate: float, on_answer: Callable[[Answer], None]
) -> None:
    """Send purchases as orders, in their order.

    Args:
        url: of the order web.
        sent: the purchases; an answer's number is its place among them, from 1.
        rate: orders a second, whether they are answered or not while there is a client free.
        on_answer: called with each answer.
    """
    # no more clients than that, so that none idles until the web hangs up on it
    clients = min(_MOST_CLIENTS, 1 + int(_CLIENTS_A_SECOND * rate), len(sent))
    await drive(
        url, (order_request(purchase.request()) for purchase in sent), clients, on_answer, rate=rate
    )


def histogram(milliseconds: Sequence[float]) -> list[str]:
    """Draw how long answers took, a line for each doubling: from, to, a bar, how many."""
    if not milliseconds:
        return []
    places = [max(0, int(each)).bit_length() for each in milliseconds]
    counts = [places.count(place) for place in range(min(places), max(places) + 1)]
    return [
        f"{2**place // 2:>6} – {2**place:>6} ms  {_bar(number, max(counts)):<{_BAR}} {number}"
        for place, number in enumerate(counts, min(places))
    ]


def _bar(number: int, most: int) -> str:
    """As long as its share of the longest; what is there shows, however little it is."""
    return "█" * max(int(number > 0), round(_BAR * number / most))
