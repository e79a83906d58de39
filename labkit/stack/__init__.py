"""The start of a lab, its supervision and its end."""
