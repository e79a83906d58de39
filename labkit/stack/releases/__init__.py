"""Releases of the shop: what one is, and how services are taken from one to the next."""
