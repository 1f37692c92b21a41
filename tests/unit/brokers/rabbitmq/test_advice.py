"""What `doctor` says of a RabbitMQ by its version and its features."""

from __future__ import annotations

import pytest

from eventbus.brokers.rabbitmq.advice import (
    numbers,
    of_deprecated_features,
    of_feature_flags,
    of_version,
)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("3.10.8", "only where a queue says so, and counts also what is given back"),
        ("3.13.7", "only where a queue says so, and counts also what is given back"),
        ("4.0.1", "to 20 where a queue does not say, and counts also what is given back"),
        ("4.2.0", "to 20 where a queue does not say, and counts also what is given back"),
        ("4.3.0", "does not count what a worker gives back"),
        ("4.10.0-rc.1", "does not count what a worker gives back"),
        ("5.0", "does not count what a worker gives back"),
    ],
)
def test_a_version_tells_how_deliveries_are_limited_and_counted(version: str, said: str) -> None:
    (advice,) = of_version(version)
    assert said in advice.text
    assert advice.remedy is None


@pytest.mark.parametrize("version", ["3.9.29", "3.8.1"])
def test_what_is_too_old_is_to_be_upgraded(version: str) -> None:
    (advice,) = of_version(version)
    assert version in advice.text
    assert advice.remedy == "upgrade to 3.10 or newer"


@pytest.mark.parametrize("version", ["", "nightly", "x.y.z"])
def test_what_is_no_version_is_said_to_be_none(version: str) -> None:
    assert numbers(version) == ()
    (advice,) = of_version(version)
    assert "not one that is known" in advice.text


def test_stable_feature_flags_that_are_off_are_to_be_enabled() -> None:
    flags = [
        {"name": "on", "state": "enabled", "stability": "stable"},
        {"name": "trial", "state": "disabled", "stability": "experimental"},
        {"name": "off", "state": "disabled", "stability": "stable"},
    ]
    (advice,) = of_feature_flags(flags)
    assert advice.text.startswith("not enabled: off;")
    assert advice.remedy is not None
    assert list(of_feature_flags(flags[:2])) == []


def test_deprecated_features_that_others_use_are_told_and_nothing_is_to_be_done() -> None:
    (advice,) = of_deprecated_features([{"name": "global_qos"}])
    assert "global_qos" in advice.text
    assert advice.remedy is None
    assert list(of_deprecated_features([])) == []
