"""A mail provider as far as a service sees one: it takes a mail, or it is down.

Nothing of it is part of a handler's transaction, as with every provider. It is down for as long as
the file ``mail-provider-down`` exists, or the one that MAIL_PROVIDER_DOWN names.
"""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import sessionmaker

from .models import Mail

DATABASE_URL = os.environ.get("EMAIL_DATABASE_URL", "sqlite:///email.db")
DOWN = Path(os.environ.get("MAIL_PROVIDER_DOWN", "mail-provider-down"))

_Session = sessionmaker(sa.create_engine(DATABASE_URL))


class ProviderDown(ConnectionError):
    """The mail provider does not answer."""


def send(mail: Mail) -> None:
    """Deliver `mail`, or raise `ProviderDown`."""
    if DOWN.exists():
        raise ProviderDown("the mail provider does not answer")
    with _Session.begin() as session:
        session.add(mail)
