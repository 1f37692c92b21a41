"""Where the answer is "compatible", no value of a writer's message is lost, changed or refused."""

from __future__ import annotations

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from eventbus.contracts import check_compatibility
from eventbus.errors import InvalidSchema
from tests.unit.contracts.protobuf.oracle import lost, message_class
from tests.unit.contracts.protobuf.schemas import changed, files, fill


@given(st.data())
@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
def test_a_compatible_reader_sees_every_value_of_the_writer(data: st.DataObject) -> None:
    writer = data.draw(files())
    reader = data.draw(changed(writer))
    try:
        found = check_compatibility(reader=reader.text(), writer=writer.text(), format="protobuf")
    except InvalidSchema:
        assume(False)
    if not found:
        return
    reader_class = message_class(reader.text())
    written = message_class(writer.text())()
    fill(data.draw, written, writer.fields, writer)
    assume(written.IsInitialized())
    read = reader_class()
    read.ParseFromString(written.SerializeToString())
    assert read.IsInitialized()
    assert lost(written, read) == []
