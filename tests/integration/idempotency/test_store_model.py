"""Random commands, run against the pure model and the real stores: every answer is the same."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from eventbus.workers.idempotency.port import KEEP_STARTS_MS, Key

from .stores import MINUTE, InDatabase, InRedis, Model, StoreUnderTest

_keys = st.lists(
    st.builds(
        Key,
        handler=st.sampled_from(["charge", "notify"]),
        event_id=st.sampled_from(["1", "2", "3"]),
        fingerprint=st.sampled_from(["f", "f", "f", "g"]),
    ),
    min_size=1,
    max_size=4,
)
_tokens = st.sampled_from("abc")
# Never a whole minute, so that no deadline falls on the moment of a command: how long a command
# really takes cannot change its answer.
_spans = st.sampled_from([minutes * MINUTE + MINUTE // 2 for minutes in (1, 2, 5, 60)])
_pauses = st.sampled_from([MINUTE, 2 * MINUTE, 6 * MINUTE, KEEP_STARTS_MS])


class SameAnswers(RuleBasedStateMachine):
    """Runs every command against each of `stores` and compares with the model, the first one."""

    stores: list[StoreUnderTest]

    def __init__(self) -> None:
        super().__init__()
        for under_test in self.stores:
            under_test.clear()

    @rule(keys=_keys, token=_tokens, lease_ms=_spans, alone=st.booleans())
    def claim(self, keys: list[Key], token: str, lease_ms: int, alone: bool) -> None:
        self._compare(lambda store: store.claim(keys, token, lease_ms, alone=alone))

    @rule(keys=_keys, token=_tokens, ttl_ms=_spans)
    def remember(self, keys: list[Key], token: str, ttl_ms: int) -> None:
        self._compare(lambda store: store.remember(keys, token, ttl_ms))

    @rule(keys=_keys, token=_tokens)
    def release(self, keys: list[Key], token: str) -> None:
        self._compare(lambda store: store.release(keys, token))

    @rule(keys=_keys, token=_tokens, lease_ms=st.just(0) | _spans, keep_ms=_spans)
    def unclaim(self, keys: list[Key], token: str, lease_ms: int, keep_ms: int) -> None:
        self._compare(lambda store: store.unclaim(keys, token, lease_ms, keep_ms))

    @rule(keys=_keys, token=_tokens, lease_ms=_spans)
    def renew(self, keys: list[Key], token: str, lease_ms: int) -> None:
        self._compare(lambda store: store.renew(keys, token, lease_ms))

    @rule(ms=_pauses)
    def pass_time(self, ms: int) -> None:
        for under_test in self.stores:
            under_test.pass_time(ms)

    @rule()
    def purge(self) -> None:
        for under_test in self.stores:
            if isinstance(under_test, InDatabase):
                under_test.store.purge_expired()  # type: ignore[attr-defined]

    def _compare(self, command: Callable[[Any], object]) -> None:
        expected, *others = [command(under_test.store) for under_test in self.stores]
        for answer, under_test in zip(others, self.stores[1:], strict=True):
            assert answer == expected, type(under_test).__name__


def _run(stores: list[StoreUnderTest], examples: int, steps: int = 30) -> None:
    with contextlib.ExitStack() as stack:
        for under_test in stores:
            stack.callback(under_test.close)
        machine = type("Machine", (SameAnswers,), {"stores": stores})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


def test_redis_and_sqlite_answer_like_the_model(redis_url: str, sqlite_url: str) -> None:
    _run([Model(), InRedis(redis_url), InDatabase(sqlite_url)], examples=150)


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_other_databases_answer_like_the_model(kind: str, request: pytest.FixtureRequest) -> None:
    _run([Model(), InDatabase(request.getfixturevalue(f"{kind}_url"))], examples=40)
