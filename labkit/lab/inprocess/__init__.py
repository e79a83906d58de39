"""A whole shop in one process, to try every order of events."""
