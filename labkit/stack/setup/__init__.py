"""What a lab needs before a service starts: databases, first data, topics, servers."""
