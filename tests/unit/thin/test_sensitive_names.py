"""Which names of fields smell of personal data or secrets."""

from __future__ import annotations

import datetime as dt
from uuid import UUID

import pytest

from eventbus.thin.sensitive_names import Smell, smell_of, words_of


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("order_id", ["order", "id"]),
        ("orderId", ["order", "id"]),
        ("OrderID", ["order", "id"]),
        ("APIKey", ["api", "key"]),
        ("api-key2", ["api", "key"]),
        ("__x__", ["x"]),
        ("größe", ["größe"]),
        ("", []),
        ("42", []),
    ],
)
def test_a_name_is_read_as_words(name: str, words: list[str]) -> None:
    assert words_of(name) == words


@pytest.mark.parametrize(
    "name",
    [
        "email",
        "customer_email",
        "customerEmail",
        "CUSTOMER_EMAIL",
        "e_mail",
        "emails",
        "phone",
        "phone_number",
        "billing_address",
        "addresses",
        "iban",
        "card",
        "cardNumber",
        "date_of_birth",
        "birthday",
        "first_name",
        "lastName",
        "ip_address",
        "zip_code",
    ],
)
def test_personal_data_smell(name: str) -> None:
    found = smell_of(name, None)
    assert found is not None
    assert found[1] in (Smell.PERSONAL, Smell.SECRET)


@pytest.mark.parametrize(
    "name", ["password", "user_password", "access_token", "tokens", "api_key", "apiKey", "cvv"]
)
def test_secrets_smell(name: str) -> None:
    found = smell_of(name, None)
    assert found is not None
    assert found[1] is Smell.SECRET


@pytest.mark.parametrize(
    "name",
    [
        "tokenizer_id",
        "order_id",
        "scorecard",
        "discarded",
        "cardinality",
        "company",
        "pinned",
        "spanning",
        "shipped",
        "addressed",
        "key",
        "name",
        "product_name",
        "latest",
        "monkey",
        "secretary_id",
        "unisex",
        "phonetic",
        "zipped",
    ],
)
def test_a_word_inside_a_word_does_not_smell(name: str) -> None:
    assert smell_of(name, None) is None


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        ("address_id", UUID),
        ("card_ids", UUID),
        ("email_verified", bool),
        ("password_changed_at", dt.datetime),
        ("token_count", int),
    ],
)
def test_what_is_said_about_such_a_thing_does_not_smell(name: str, holds: type) -> None:
    assert smell_of(name, holds) is None
    assert smell_of(name, None) is not None


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        ("access_token", UUID),
        ("born_at", dt.datetime),
        ("birth_date", dt.date),
        ("phone", int),
        ("card_number", int),
        ("email_id", None),
    ],
)
def test_a_type_alone_excuses_nothing(name: str, holds: type | None) -> None:
    assert smell_of(name, holds) is not None
