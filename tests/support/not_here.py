"""Reasons why something cannot be tried on this machine."""


class NotHere(Exception):
    """Something that a test needs is missing on this machine; the message says what to do."""
