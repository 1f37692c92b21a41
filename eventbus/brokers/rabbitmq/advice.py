"""What an operator should know of a RabbitMQ: what its version means, what is odd about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from eventbus.brokers.port import Advice
from eventbus.brokers.rabbitmq.management import Management
from eventbus.topology import DELIVERY_LIMIT

#: The oldest that has what the queues are declared with.
OLDEST = (3, 10)


def of_version(version: str) -> Iterator[Advice]:
    """What a version counts as a delivery, and whether it can be used at all.

    From RabbitMQ's pages "Quorum Queues" and "Negative Acknowledgements"; tried on 3.10.
    """
    number = numbers(version)
    if not number:
        yield Advice("broker", f"version {version!r:.40} is not one that is known")
    elif number < OLDEST:
        yield Advice(
            "broker",
            f"RabbitMQ {version} lacks what the queues are declared with",
            f"upgrade to {OLDEST[0]}.{OLDEST[1]} or newer",
        )
    else:
        yield Advice("deliveries", f"RabbitMQ {number[0]}.{number[1]} {_counting(number)}")


def _counting(number: tuple[int, ...]) -> str:
    ours = f"the queues set a limit of {DELIVERY_LIMIT}, those for retries and dead letters none"
    if number < (4, 0):
        default, counted = "only where a queue says so", "counts also what is given back"
    elif number < (4, 3):
        default, counted = "to 20 where a queue does not say", "counts also what is given back"
    else:
        default = "to 20 where a queue does not say"
        counted = "does not count what a worker gives back (basic.nack)"
    return (
        f"limits deliveries {default}, and {counted}; {ours}, and workers count the starts of a "
        f"handler themselves"
    )


def numbers(version: str) -> tuple[int, ...]:
    """``3.10.8`` as (3, 10); nothing for what is no version."""
    parts = version.split(".")[:2]
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else ()


def of_management(management: Management) -> Iterator[Advice]:
    """What the HTTP API tells; raises `ManagementUnavailable`."""
    yield Advice("management", f"its HTTP API answers at {management}")
    yield from of_feature_flags(management.feature_flags())
    yield from of_deprecated_features(management.deprecated_features_used())


def of_feature_flags(flags: Iterable[Mapping[str, Any]]) -> Iterator[Advice]:
    """The stable feature flags that are not enabled."""
    disabled = sorted(
        str(flag.get("name"))
        for flag in flags
        if flag.get("stability") == "stable" and flag.get("state") == "disabled"
    )
    if disabled:
        yield Advice(
            "feature flags",
            f"not enabled: {', '.join(disabled)}; the next version may refuse to start",
            "run 'rabbitmqctl enable_feature_flag all'",
        )


def of_deprecated_features(used: Iterable[Mapping[str, Any]]) -> Iterator[Advice]:
    """The deprecated features that somebody uses on this broker; eventbus needs none of them."""
    names = sorted(str(feature.get("name")) for feature in used)
    if names:
        yield Advice(
            "deprecated features",
            f"others use these here: {', '.join(names)}; eventbus uses none, also where they are "
            f"denied",
        )
