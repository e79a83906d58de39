"""Solutions to the exercises of notebook 13. Try them yourself first."""


def in_order(calls, names):
    """The services in `names` as a list, each before those that call it."""
    from graphlib import TopologicalSorter

    return [name for name in TopologicalSorter(calls).static_order() if name in names]


def with_reason(fields):
    """The fields of version 2, from those of version 1.

    What an event of 1.1 says comes last, so it wins over the text for those of 1.0.
    """
    return {"reason": "no reason is known", **fields}


def sort_changes():
    """Letter → "both ways", "only forward" or "breaking".

    A and E only add what may be missing. The old code cannot read a null (D), or do without its
    column (F). The new code needs something that no old message has (B and C).
    """
    return {
        "A": "both ways",
        "B": "breaking",
        "C": "breaking",
        "D": "only forward",
        "E": "both ways",
        "F": "only forward",
    }
