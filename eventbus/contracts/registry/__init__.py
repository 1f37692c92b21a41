"""Where contracts are registered: in the application's database, or at a registry's URL."""

from eventbus.contracts.registry.opening import open_registry

__all__ = ["open_registry"]
