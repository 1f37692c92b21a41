"""References: which thing an event is about."""

from __future__ import annotations

from importlib import import_module
from typing import Any
from uuid import UUID

import pytest

from eventbus import Event, Ref, ValidationError
from eventbus.contracts.schema import Format, Schema
from eventbus.declared import record_of

SOME_ID = UUID("0199c2f1-0000-7000-8000-000000000001")


class CommentAdded(Event, name="references.comment.added"):
    comment: Ref
    subject: Ref | None = None


@pytest.mark.parametrize(("id", "text"), [("a-1", "a-1"), (17, "17"), (SOME_ID, str(SOME_ID))])
def test_an_identifier_is_written_as_text(id: Any, text: str) -> None:
    event = CommentAdded(comment=Ref("comment", id))
    assert event.__wire__() == {"comment": {"type": "comment", "id": text}, "subject": None}
    assert CommentAdded.__read__(event.__wire__()) == event
    assert Ref("comment", id) == Ref(type="comment", id=text)
    assert hash(Ref("comment", id)) == hash(Ref("comment", text))
    assert str(Ref("comment", id)) == f"comment {text}"


@pytest.mark.parametrize(
    ("kind", "id"),
    [
        ("", "1"),
        ("Order", "1"),
        ("order item", "1"),
        ("order\n", "1"),
        ("o" * 65, "1"),
        (None, "1"),
        ("order", ""),
        ("order", "a b"),
        ("order", "1\n"),
        ("order", "ada@example.org"),
        ("order", "x" * 129),
        ("order", None),
        ("order", True),
        ("order", 1.5),
        ("order", {"id": 1}),
    ],
)
def test_what_is_no_reference_is_refused(kind: Any, id: Any) -> None:
    with pytest.raises(ValidationError):
        Ref(kind, id)
    with pytest.raises(ValidationError):
        CommentAdded.__read__({"comment": {"type": kind, "id": id}})


@pytest.mark.parametrize("format", ["avro", "protobuf"])
def test_a_reference_has_a_form_in_every_format(format: str) -> None:
    package = import_module(f"eventbus.contracts.{format}")
    contract = Schema(Format(format), package.SUPPORT.derive(record_of(CommentAdded), ()))
    event = CommentAdded(comment=Ref("comment", 17), subject=Ref("order", SOME_ID))
    body = package.CODEC.encoder(CommentAdded, contract)(event)
    assert package.CODEC.reader(CommentAdded, contract)(body) == event
    assert package.CODEC.decoder(contract)(body) == event.__wire__()
