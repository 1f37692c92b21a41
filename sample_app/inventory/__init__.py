"""The inventory service: reserves what was ordered."""
