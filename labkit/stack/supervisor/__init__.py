"""The supervisor of a lab, its children, and how both are started and stopped."""
