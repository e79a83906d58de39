"""Outbox, relay, inbox, consumer, and the broker that carries events between them."""
