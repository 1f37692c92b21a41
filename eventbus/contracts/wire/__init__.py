"""The body of an event on the wire: JSON, or Avro and Protobuf in the Confluent frame."""
