"""A small shop: one folder a service, and nothing between the services but events."""
