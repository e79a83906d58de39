"""The engine: makes steps durable, calls typed, faults reachable; it knows nothing of the shop.

This is its door: business code imports these names and none of the rooms behind them. A name is
loaded when it is first asked for, so that a command which needs one clock waits for no database.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.runtime.backoff import Backoff
    from labkit.runtime.db.compiled import Row
    from labkit.runtime.db.lookup import lookup
    from labkit.runtime.db.operations import APPLIED, claim, outcome_of, undo
    from labkit.runtime.db.statements import statement
    from labkit.runtime.db.tables import RUNTIME_TABLES, EnumInteger, Moment, Whole
    from labkit.runtime.db.texts import CauseText
    from labkit.runtime.db.transaction import Transaction
    from labkit.runtime.errors import Unknown
    from labkit.runtime.messaging.dead_letters import StuckItem
    from labkit.runtime.messaging.deadlines import Deadline
    from labkit.runtime.messaging.inbox import DeadLetter, given_up
    from labkit.runtime.registry.ids import first_of
    from labkit.runtime.rpc.contract import ServedBy
    from labkit.runtime.steps import Event, RunStep, Step, flow, lookup_flow, step
    from labkit.runtime.sweeping import run_each
    from labkit.runtime.wiring import Service

_ROOMS = {
    "backoff": ("Backoff",),
    "db.compiled": ("Row",),
    "db.lookup": ("lookup",),
    "db.operations": ("APPLIED", "claim", "outcome_of", "undo"),
    "db.statements": ("statement",),
    "db.tables": ("RUNTIME_TABLES", "EnumInteger", "Moment", "Whole"),
    "db.texts": ("CauseText",),
    "db.transaction": ("Transaction",),
    "errors": ("Unknown",),
    "messaging.dead_letters": ("StuckItem",),
    "messaging.deadlines": ("Deadline",),
    "messaging.inbox": ("DeadLetter", "given_up"),
    "registry.ids": ("first_of",),
    "rpc.contract": ("ServedBy",),
    "steps": ("Event", "RunStep", "Step", "flow", "lookup_flow", "step"),
    "sweeping": ("run_each",),
    "wiring": ("Service",),
}
_WHERE = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "APPLIED",
    "RUNTIME_TABLES",
    "Backoff",
    "CauseText",
    "DeadLetter",
    "Deadline",
    "EnumInteger",
    "Event",
    "Moment",
    "Row",
    "RunStep",
    "ServedBy",
    "Service",
    "Step",
    "StuckItem",
    "Transaction",
    "Unknown",
    "Whole",
    "claim",
    "first_of",
    "flow",
    "given_up",
    "lookup",
    "lookup_flow",
    "outcome_of",
    "run_each",
    "statement",
    "step",
    "undo",
]


def __getattr__(name: str) -> object:
    """Load a name of the door from its room."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
