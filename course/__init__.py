"""Tools of the notebooks that are no part of the shop."""
