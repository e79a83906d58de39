"""The needs of a lab before a service starts: databases, first data, topics, servers."""
