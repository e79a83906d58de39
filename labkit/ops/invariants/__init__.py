"""Invariants of the data, whatever fails: each is SQL with a sentence."""
