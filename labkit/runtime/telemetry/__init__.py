"""Telemetry: spans of what one request did in every process that it crossed."""
