"""Dramatiq with two processes: ``dramatiq benchmarks.contestants.prefork_dramatiq``."""

from __future__ import annotations

import os
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from ..application import stamp_number
from .prefork_celery import URL_VARIABLE

QUEUE = "bench.dramatiq"

dramatiq.set_broker(RabbitmqBroker(url=os.environ[URL_VARIABLE]))


@dramatiq.actor(queue_name=QUEUE)
def handler(data: dict[str, Any]) -> None:
    """Note one event."""
    stamp_number(data["number"])
