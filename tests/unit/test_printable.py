"""Text from outside shows as text: no control character and no password gets through."""

from __future__ import annotations

import pytest

from eventbus.printable import printable, without_passwords


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("order.paid", "order.paid"),
        ("Grüße 注文 🎉", "Grüße 注文 🎉"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("one\ntwo\r\n\tthree", "one\\ntwo\\r\\n\\tthree"),
        ("\x9b31m", "\\x9b31m"),
        ("abc\u202edef\u2066", "abc\\u202edef\\u2066"),
        ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
        ("\ud800", "\\ud800"),
        ("\0", "\\x00"),
        ("\U000e0041", "\\U000e0041"),
        ("👩\u200d💻", "👩\u200d💻"),
    ],
)
def test_every_character_shows_as_itself_or_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no URL here: a@b", "no URL here: a@b"),
        ("amqp://shop:hunter2@rabbit/x is away", "amqp://shop:***@rabbit/x is away"),
        ("'redis://:hunter2@host:6379/0'", "'redis://:***@host:6379/0'"),
        ("postgresql+psycopg://u:hun'ter2@h/d?x=1", "postgresql+psycopg://u:***@h/d?x=1"),
        ("a amqp://u:hunter2@h b redis://u:hunter2@h", "a amqp://u:***@h b redis://u:***@h"),
        ("amqp://u:hunter2@h1;amqp://u:hunter2@h2", "amqp://u:***@h1;amqp://u:***@h2"),
        ("mysql://h/d?password=hunter2", "mysql://h/d?password=***"),
    ],
)
def test_the_password_of_every_url_is_masked(text: str, shown: str) -> None:
    assert without_passwords(text) == shown
