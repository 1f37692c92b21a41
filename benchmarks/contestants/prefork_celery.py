"""Celery with two processes: ``celery -A benchmarks.contestants.prefork_celery worker``."""

from __future__ import annotations

import json
import os
from typing import Any

from ..application import stamp_number
from .worker_celery import make_app

URL_VARIABLE = "BENCHMARK_BROKER_URL"
ARGUMENTS_VARIABLE = "BENCHMARK_QUEUE_ARGUMENTS"

app = make_app(os.environ[URL_VARIABLE], json.loads(os.environ[ARGUMENTS_VARIABLE]))


@app.task(name="handler")
def handler(data: dict[str, Any]) -> None:
    """Note one event."""
    stamp_number(data["number"])
