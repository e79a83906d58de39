"""The operator console: what the shop is doing, what is stuck, and buttons to drive it home."""
