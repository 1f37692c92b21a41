"""A reference to a thing whose truth is kept elsewhere.

class CommentAdded(Event, name="comment.added"):
    comment: Ref          # Ref("comment", 17)
    subject: Ref          # on an order, an invoice or a customer
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from marshmallow.validate import Regexp

from eventbus.event import Struct


class Ref(Struct):
    """Which thing: its type and its identifier."""

    # That sentence is in the contract of each event with a reference; the rest is below.

    type: Annotated[str, Regexp(r"[a-z][a-z0-9_.-]{0,63}\Z")]
    id: Annotated[str, Regexp(r"[A-Za-z0-9_.:/+=~-]{1,128}\Z")]

    def __init__(self, type: str, id: str | int | UUID) -> None:
        """Refer to a thing.

        On the wire a reference is an object of two strings, in every format.

        Parameters
        ----------
        type:
            Small letters, digits, ``_``, ``-`` and ``.``, such as ``order``; at most 64. It is the
            name of the source that knows the thing: `eventbus.EventBus.source`.
        id:
            At most 128 ASCII letters, digits and ``_.:/+=~-``, so that it can stand in a URL and in
            a log; an e-mail address is no identifier. A UUID or an integer is written as its text.

        Raises
        ------
        ValidationError
            `type` or `id` is something else.

        Example::

            Ref("order", order.id)
        """
        super().__init__(type=type, id=_text(id))

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


def _text(identifier: object) -> object:
    """An identifier as a string; what is none is left for the validation to refuse."""
    if isinstance(identifier, UUID) or type(identifier) is int:
        return str(identifier)
    return identifier
