"""Idempotency: an event's effect at a handler happens once."""
