"""The registry over HTTP, as the Confluent Schema Registry's API describes it."""
