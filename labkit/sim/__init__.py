"""The twin: the whole shop in one process and in virtual time, to try every order of events."""
