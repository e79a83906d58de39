"""What a notebook uses: a lab to start, order with, look into and break."""

from labkit.lab.lab import Lab

__all__ = ["Lab"]
