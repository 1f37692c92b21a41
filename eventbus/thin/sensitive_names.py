"""Names of fields that smell of personal data or of secrets.

An event is copied into queues, logs, dead letters, exports and backups, where nobody can take a
person's data out again or change a password. The words of a name count, not its letters:
``tokenizer_id`` has nothing to do with tokens.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from enum import Enum


class Smell(Enum):
    """What a name gives away."""

    PERSONAL = "personal data"
    SECRET = "a secret"


#: Each entry is a word, or several that stand next to each other.
_PERSONAL = """
    address, bank account, account number, birth, birthdate, birthday, birthplace, born, cellphone,
    citizenship, contact name, customer name, dob, driver license, drivers license, driving licence,
    email, e mail, ethnicity, fax, first name, firstname, forename, full name, fullname, gender,
    geolocation, given name, iban, id card, ip, last name, lastname, lat, latitude, license plate,
    lng, lon, longitude, maiden name, middle name, mobile, national id, nationality, nickname,
    passport, phone, phonenumber, postal code, postcode, religion, salary, sex, social security,
    ssn, street, surname, tax id, tax number, telephone, user name, username, zip, zip code, zipcode
"""
_SECRET = """
    access key, api key, apikey, authorization, bearer, card, cardnumber, cookie, credential, csrf,
    cvc, cvv, jwt, otp, pan, passcode, passphrase, passwd, password, pin, private key, pwd, secret,
    signing key, token, totp
"""

_CAMEL_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[^\W\d_]+")
# What stands last says that the field is no such thing itself: an identifier of one, how many there
# are, when one was changed. Of a birth or a death the moment is the datum.
_HARMLESS_ENDS: dict[type, frozenset[str]] = {
    uuid.UUID: frozenset({"id", "ids", "ref", "uuid"}),
    dt.datetime: frozenset({"at"}),
    int: frozenset({"count", "version"}),
}
_MOMENTS_OF_A_LIFE = frozenset({"birth", "born", "birthdate", "birthday", "dob"})


def _phrases(text: str) -> dict[tuple[str, ...], None]:
    return {tuple(phrase.split()): None for phrase in text.split(",")}


_SMELLS: dict[tuple[str, ...], Smell] = {
    **dict.fromkeys(_phrases(_PERSONAL), Smell.PERSONAL),
    **dict.fromkeys(_phrases(_SECRET), Smell.SECRET),
}
_LONGEST_PHRASE = max(map(len, _SMELLS))


def words_of(name: str) -> list[str]:
    """The words of a name in snake_case, camelCase or with hyphens, in small letters."""
    return [word.lower() for word in _WORD.findall(_CAMEL_HUMP.sub("_", name))]


def smell_of(name: str, holds: type | None) -> tuple[str, Smell] | None:
    """The words in `name` that give it away, and what they say; None if it smells of nothing.

    Parameters
    ----------
    holds:
        What the field, or each item of the list, is: a UUID, a datetime, a bool, an int; None for
        anything else.
    """
    words = words_of(name)
    if holds is bool or not words:
        return None
    harmless = words[-1] in _HARMLESS_ENDS.get(holds or object, ())
    if harmless and not _MOMENTS_OF_A_LIFE & set(words):
        return None
    for length in range(_LONGEST_PHRASE, 0, -1):
        for start in range(len(words) - length + 1):
            *before, last = words[start : start + length]
            for singular in (last, last.removesuffix("s"), last.removesuffix("es")):
                found = _SMELLS.get((*before, singular))
                if found:
                    return " ".join((*before, last)), found
    return None
