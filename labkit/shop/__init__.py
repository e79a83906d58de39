"""The business: steps, flows and event handlers, and nothing else. No I/O of its own."""

#: The release of the shop. Services of two neighbouring releases can run beside each other.
RELEASE = "1.0"
