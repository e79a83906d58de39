"""Spans: what one request did in every process that it crossed."""
