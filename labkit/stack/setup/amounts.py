"""The bounds of what a lab is filled with, apart from what needs a database to be imported."""

#: The most rows of a kind, and the most pieces or cents of one.
MANY, MUCH = 1_000_000, 10**12
