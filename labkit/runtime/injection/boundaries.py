"""Boundaries: every kind of crossing that a failpoint can stand at, and what can happen there."""

from dataclasses import dataclass

#: Boundary → the actions that can be made to happen there. A `delay:SECONDS` undoes a step and runs
#: it later, a `stall:SECONDS` holds its transaction open, with all that it has read and locked.
BOUNDARIES = {
    "before_commit": ("crash", "refuse", "delay", "stall"),
    "after_commit": ("crash", "delay", "duplicate"),
    "before_call": ("crash", "refuse", "delay", "duplicate"),
    "after_call": ("crash", "refuse", "delay"),
    "before_send": ("crash", "refuse", "delay", "duplicate", "lose"),
    "after_ack": ("crash", "delay"),
    "before_offset_commit": ("crash", "refuse", "delay"),
    "after_offset_commit": ("crash", "delay"),
    "before_notify": (
        "crash",
        "refuse",
        "delay",
        "duplicate",
        "reorder",
        "alter",
        "wrong_amount",
        "forge",
    ),
    "after_notify": ("crash", "delay"),
    "before_answer": ("crash", "delay", "early"),
    "before_rename": ("crash", "delay"),
    "after_rename": ("crash", "delay"),
    "before_fork": ("crash", "refuse", "delay"),
    "after_fork": ("crash", "delay"),
    "after_record": ("crash", "delay"),
    "before_stop": ("crash", "delay"),
    "after_stop": ("crash", "delay"),
    "before_fill": ("crash", "delay"),
    "after_fill": ("crash", "delay"),
    "before_work": ("crash", "refuse", "delay"),
    "after_work": ("crash", "delay"),
    "before_statement": ("crash", "delay"),
    "after_statement": ("crash", "delay"),
}

#: Kind of crossing → the boundaries around it.
KINDS = {
    "commit": ("before_commit", "after_commit"),
    "call": ("before_call", "after_call"),
    "send": ("before_send", "after_ack"),
    "offset": ("before_offset_commit", "after_offset_commit"),
    "notify": ("before_notify", "after_notify"),
    "answer": ("before_answer",),
    "rename": ("before_rename", "after_rename"),
    "fork": ("before_fork", "after_fork", "after_record"),
    "stop": ("before_stop", "after_stop"),
    "fill": ("before_fill", "after_fill"),
    "work": ("before_work", "after_work"),
    "statement": ("before_statement", "after_statement"),
}


#: The actions that say how long, as `delay:2.5`.
TIMED = ("delay", "stall")


@dataclass(frozen=True)
class Failpoint:
    """A place where a process can be made to fail: `service.step.boundary`."""

    service: str
    step: str
    boundary: str

    @property
    def name(self) -> str:
        """Return the name that the command line and the lab use."""
        return f"{self.service}.{self.step}.{self.boundary}"

    @property
    def actions(self) -> tuple[str, ...]:
        """Return the actions that the failpoint can be armed with."""
        return BOUNDARIES[self.boundary]
