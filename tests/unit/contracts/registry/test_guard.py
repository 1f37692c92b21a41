"""Who may talk to the registry: decided from a request's headers."""

from __future__ import annotations

import base64

import pytest

from eventbus.contracts.registry.refusals import Malformed
from eventbus.contracts.registry.server.errors import Forbidden, Unauthorized
from eventbus.contracts.registry.server.guard import Guard, is_loopback
from eventbus.errors import ConfigurationError

TOKEN = "a-token-of-these-tests"


def basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()


@pytest.mark.parametrize(
    "authorization",
    [f"Bearer {TOKEN}", f"bearer  {TOKEN} ", basic(f"anybody:{TOKEN}"), basic(f":{TOKEN}")],
)
def test_the_token_opens(authorization: str) -> None:
    Guard(TOKEN).check({"authorization": authorization, "host": "registry.example.org"})


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        TOKEN,
        "Bearer",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Digest {TOKEN}",
        basic(TOKEN),
        basic(f"{TOKEN}:"),
        "Basic ***",
        "Basic " + "A" * 7,
        "Bearer \udcff",
    ],
)
def test_nothing_else_opens(authorization: str) -> None:
    with pytest.raises(Unauthorized) as caught:
        Guard(TOKEN).check({"authorization": authorization})
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    "token", ["short", "with a blank in the middle", "ü" * 20, "a" * 20 + "\n"]
)
def test_a_poor_token_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Guard(token)
    assert token not in str(caught.value)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8081", "localhost", "[::1]:8081", "registry:8081", "10.0.0.7", "shop.example.org."],
)
def test_without_a_token_it_is_reached_by_its_names(host: str) -> None:
    Guard(hosts=["Shop.example.org"]).check({"host": host})


@pytest.mark.parametrize("host", ["", "evil.test", "evil.test:8081", "127.0.0.1.evil.test", "[:"])
def test_without_a_token_no_other_name_is_answered(host: str) -> None:
    with pytest.raises(Malformed, match="--allow-host"):
        Guard(hosts=["shop.example.org"]).check({"host": host})


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.test"},
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": "http://localhost:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_without_a_token_no_page_of_another_origin_is_answered(headers: dict[str, str]) -> None:
    with pytest.raises(Forbidden):
        Guard().check({"host": "localhost:8081", **headers})


def test_a_page_of_its_own_is_answered() -> None:
    same = {"origin": "http://localhost:8081", "sec-fetch-site": "same-origin"}
    Guard().check({"host": "localhost:8081", **same})


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("nowhere.invalid", False),
        ("", False),
    ],
)
def test_what_this_machine_alone_reaches_is_known(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
