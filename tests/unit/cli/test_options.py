"""Options that are out of range are refused with the range, before anything starts."""

from __future__ import annotations

import time
from datetime import timedelta

import click
import pytest
from click.testing import CliRunner

from eventbus.cli.options import (
    Duration,
    Moment,
    Name,
    Number,
    Pool,
    Rate,
    Size,
    split_list,
    worker_options,
)
from eventbus.cli.root import root


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["worker", "-c", "0"], "from 1 to 1000"),
        (["worker", "-c", "-1"], "from 1 to 1000"),
        (["worker", "-c", "1e9"], "from 1 to 1000"),
        (["worker", "-c", "1000000000"], "from 1 to 1000"),
        (["worker", "-c", ""], "from 1 to 1000"),
        (["worker", "--prefetch", "x"], "from 1 to 10000"),
        (["worker", "--prefetch", "0"], "from 1 to 10000"),
        (["worker", "--prefetch", "10001"], "from 1 to 10000"),
        (["worker", "-P", "nosuch"], "'nosuch' is no pool; use one of prefork, threads, solo"),
        (["worker", "--coroutines", "0"], "from 1 to 100000"),
        (["worker", "--time-limit", "0"], "from 1ms to 30d"),
        (["worker", "--soft-time-limit", "soon"], "from 1ms to 30d"),
        (["worker", "--max-tasks-per-child", "0"], "from 1 to 1000000000"),
        (["worker", "--max-memory-per-child", "5"], "from 10MB to 1000GB"),
        (["worker", "--max-memory-per-child", "5MB"], "from 10MB to 1000GB"),
        (["worker", "--max-memory-per-child", "-1GB"], "from 10MB to 1000GB"),
        (["worker", "--start-method", "clone"], "forkserver"),
        (["worker", "--shutdown-timeout", "-1"], "from 100ms to 1h"),
        (["worker", "--shutdown-timeout", "soon"], "from 100ms to 1h"),
        (["worker", "--shutdown-timeout", "9" * 400], "from 100ms to 1h"),
        (["worker", "-n", "a b"], "without white space"),
        (["worker", "-n", ""], "1 to 100 characters"),
        (["worker", "-n", "x" * 101], "1 to 100 characters"),
        (["worker", "-n", "x\x1b[31m"], "without white space"),
        (["worker", "-Q", "billing,,mail"], "an item of the list is empty"),
        (["worker", "-l", "loud"], "debug"),
        (["dispatcher", "--batch-size", "0"], "from 1 to 10000"),
        (["dispatcher", "--poll-interval", "0"], "from 10ms to 10m"),
        (["run", "-c", "0"], "from 1 to 1000"),
        (["run", "--batch-size", "many"], "from 1 to 10000"),
        (["outbox", "list", "--limit", "0"], "from 1 to 100000"),
        (["outbox", "list", "--state", "lost"], "pending"),
        (["dlq", "list", "--limit", "-5"], "from 1 to 100000"),
        (["worker", "--no-such-option"], "--no-such-option"),
    ],
)
def test_a_bad_option_ends_with_2_and_what_would_do(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(root, arguments)
    assert result.exit_code == 2
    assert said in result.output
    assert "\x1b" not in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("text", ["1", "1000"])
def test_the_ends_of_a_range_belong_to_it(text: str) -> None:
    assert Number(1, 1000).convert(text, None, None) == int(text)


def test_a_duration_takes_units_and_plain_seconds() -> None:
    kind = Duration("10ms", "10m")
    assert kind.convert("500ms", None, None) == timedelta(milliseconds=500)
    assert kind.convert("2", None, None) == timedelta(seconds=2)
    assert kind.convert("10m", None, None) == timedelta(minutes=10)


@pytest.mark.parametrize(
    ("text", "size"),
    [("200MB", 200_000_000), ("1.5 GiB", 3 * 2**29), ("10mb", 10**7), ("1000GB", 10**12)],
)
def test_a_size_has_a_unit(text: str, size: int) -> None:
    assert Size("10MB", "1000GB").convert(text, None, None) == size


def test_pools_and_names_that_are_there() -> None:
    assert Pool().convert("SOLO", None, None) == "solo"
    assert Name().convert("shop.worker-1", None, None) == "shop.worker-1"


@click.command("worker")
@worker_options
@click.pass_context
def fake_worker(ctx: click.Context, **options: object) -> None:
    click.echo(repr((options["queues"], options["concurrency"])))


@pytest.mark.parametrize(
    ("arguments", "environment", "shown"),
    [
        ([], {}, "([], None)"),
        (["-Q", "a,b", "-Q", "c"], {}, "(['a', 'b', 'c'], None)"),
        (["-Q", "a,a"], {}, "(['a'], None)"),
        ([], {"EVENTBUS_WORKER_QUEUES": "a,b"}, "(['a', 'b'], None)"),
        ([], {"EVENTBUS_WORKER_CONCURRENCY": "3"}, "([], 3)"),
        (["-c", "4"], {"EVENTBUS_WORKER_CONCURRENCY": "3"}, "([], 4)"),
    ],
)
def test_every_option_is_also_read_from_the_environment(
    arguments: list[str], environment: dict[str, str], shown: str
) -> None:
    group = click.Group("eventbus", context_settings={"auto_envvar_prefix": "EVENTBUS"})
    group.add_command(fake_worker)
    result = CliRunner(env=environment).invoke(group, ["worker", *arguments])
    assert result.output.strip() == shown


def test_a_bad_value_from_the_environment_is_refused_like_an_option() -> None:
    result = CliRunner(env={"EVENTBUS_WORKER_CONCURRENCY": "0"}).invoke(root, ["worker"])
    assert result.exit_code == 2
    assert "from 1 to 1000" in result.output


def test_split_list_keeps_the_order() -> None:
    context = click.Context(fake_worker)
    assert split_list(context, fake_worker.params[0], ["b,a", " c "]) == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1970-01-01T00:00:01Z", 1_000),
        ("1970-01-01T00:00:01z", 1_000),
        ("1970-01-02", 86_400_000),
        ("1970-01-01 00:00:01.5", 1_500),
        ("1970-01-01T02:00:00+02:00", 0),
    ],
)
def test_a_moment_is_a_time_in_utc_where_it_names_no_zone(text: str, milliseconds: int) -> None:
    assert Moment().convert(text, None, None) == milliseconds


def test_a_moment_may_be_how_long_ago_it_was() -> None:
    now = time.time() * 1000
    assert now - 7_300_000 < Moment().convert("2h", None, None) <= now - 7_199_000


@pytest.mark.parametrize("text", ["", "yesterday", "2026", "2026-13-01", "-2h", "0h", "9" * 400])
def test_another_moment_is_refused_with_what_would_do(text: str) -> None:
    with pytest.raises(click.BadParameter, match="how long ago"):
        Moment().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "rate"), [("500", 500), ("2.5", 2.5), ("500/s", 500), ("30/m", 0.5), ("3600/h", 1)]
)
def test_a_rate_is_messages_a_second(text: str, rate: float) -> None:
    assert Rate().convert(text, None, None) == rate


@pytest.mark.parametrize("text", ["0", "0/s", "-1", "nan", "inf", "fast", "5/x", "", "1/d"])
def test_another_rate_is_refused_with_what_would_do(text: str) -> None:
    with pytest.raises(click.BadParameter, match="more than zero"):
        Rate().convert(text, None, None)
