"""Faults as named verbs: reversible, and each proves that it was reached."""

from labkit.faults.listing import list_standing
from labkit.faults.undo_notes import mend
from labkit.faults.verb import VERBS, NotReached, Reach, Verb
from labkit.faults.verbs import Faults

__all__ = ["VERBS", "Faults", "NotReached", "Reach", "Verb", "list_standing", "mend"]
