"""A reusable application: it knows no bus."""
