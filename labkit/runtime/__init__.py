"""What makes steps durable, calls typed and faults reachable; knows nothing of the shop."""
