"""Fault injection inside a process: failpoints, and faults that stand."""
