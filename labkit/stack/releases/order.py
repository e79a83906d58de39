"""The order in which services are taken to a release: whoever is called comes before its callers.

So a new caller never meets an old callee, which does not know what it is asked; and a new field is
let in by the webs when all behind them know it. The way back is the other way round.
"""

from graphlib import TopologicalSorter

from labkit.shop.wiring import NAMES, SERVICES


def deploy_order() -> tuple[str, ...]:
    """Return every service that has releases, in the order of a deployment."""
    calls = {
        name: [NAMES[contract] for contract in service.calls.values() if contract in NAMES]
        for name, service in SERVICES.items()
    }
    return tuple(TopologicalSorter(calls).static_order())
