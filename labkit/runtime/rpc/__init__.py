"""Calls between services: contracts, clients, connections, the server."""
