"""What the notebooks use beside the shop."""
