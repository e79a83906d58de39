"""Stories that find what no crash shows: races, lies of a third party, and a slow neighbour."""

from labkit.matrix.scenario import Scenario

#: Every story by its name. They are no scenarios of the matrix: crashes add nothing to them.
STORIES: dict[str, Scenario] = {}
