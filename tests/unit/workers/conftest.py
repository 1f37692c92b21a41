"""A bench of doubles for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from .doubles import Bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bus on a broker and an idempotency store in memory."""
    return Bench(tmp_path, monkeypatch)


@pytest.fixture(params=["threads", "solo"])
def pool(request: pytest.FixtureRequest) -> str:
    """The same on each pool."""
    name: str = request.param
    return name
