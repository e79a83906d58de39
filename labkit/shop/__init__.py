"""The business: steps, flows and event handlers, and nothing else. No I/O of its own."""
