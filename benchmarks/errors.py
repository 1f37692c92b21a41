"""What makes a benchmark fail."""

from __future__ import annotations


class BenchmarkFailed(Exception):
    """A figure that must not be published: something was lost, doubled or did not run."""


def expect(what: str, found: object, wanted: object) -> None:
    """Raise `BenchmarkFailed` unless `found` is `wanted`."""
    if found != wanted:
        raise BenchmarkFailed(f"{what}: {found!r} instead of {wanted!r}")
