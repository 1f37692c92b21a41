"""What can go wrong with the demo itself."""

from __future__ import annotations


class DemoFailed(Exception):
    """The demo could not be carried out as its story goes; the text says why."""
