"""Servers that services stand on: databases, the broker, the registry."""

from labkit.faults.on_lab import OnLab


class Servers(OnLab):
    """What can befall a server."""
