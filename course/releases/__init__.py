"""Example releases of the shop: 1.1 and 1.2, each as its differences from the one before."""
