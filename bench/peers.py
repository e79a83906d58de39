"""Orders a second of others that people would pick for this, doing the same work on such a machine.

Each was given the same order: stock, coupon and balance in databases of their own, undone where one
refuses. They were measured once, on 2026-11-28, on two cores of the kind on which this shop is
developed, and not again in each run: compare them with a run on such a machine only.
"""

from collections.abc import Mapping

#: Peer → clients → orders a second.
PEERS: Mapping[str, Mapping[int, int]] = {
    "DTM, Go": {1: 86, 8: 169, 32: 218, 64: 225, 128: 206},
    "Restate": {1: 59, 8: 160, 32: 207, 64: 229, 128: 218},
    "DBOS, PostgreSQL": {8: 77, 64: 74},
}


def rates_at(clients: int) -> str:
    """Return what the peers did with so many clients, in words; empty if none was measured."""
    rates = {name: by_clients.get(clients) for name, by_clients in PEERS.items()}
    return ", ".join(f"{name} {rate}" for name, rate in rates.items() if rate)
